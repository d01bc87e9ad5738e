package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path"
	"slices"

	"github.com/manankarani/token-manager/internal/access"
)

const issuersKey = "issuers"

// decodeIssuers reads the issuers of the file: names, each with its address and for whom its tokens must be.
func decodeIssuers(value any) ([]*access.Issuer, error) {
	raw, ok := value.(map[string]any)
	if value != nil && !ok {
		return nil, fmt.Errorf("%s: must be names of issuers, each with its issuer and audience", issuersKey)
	}
	var issuers []*access.Issuer
	names := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		issuer, err := decodeIssuer(name, raw[name])
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", issuersKey, name, err)
		}
		if other, twice := names[issuer.URL]; twice {
			return nil, fmt.Errorf("%s.%s: is the issuer that %s is", issuersKey, name, other)
		}
		names[issuer.URL] = name
		issuers = append(issuers, issuer)
	}
	return issuers, nil
}

func decodeIssuer(name string, value any) (*access.Issuer, error) {
	fields, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("must be an issuer: issuer and audience, and perhaps algorithms and ca_file")
	}
	o := access.IssuerOptions{Name: name}
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		if err := decodeIssuerField(&o, field, fields[field]); err != nil {
			return nil, fmt.Errorf("%s: %w", field, err)
		}
	}
	return access.NewIssuer(o)
}

func decodeIssuerField(o *access.IssuerOptions, field string, value any) error {
	text, isText := value.(string)
	if field != "algorithms" && (!isText || text == "") {
		return errors.New("must be a text")
	}
	switch field {
	case "issuer":
		o.URL = text
	case "audience":
		o.Audience = text
	case "ca_file":
		return trustOnly(o, text)
	case "algorithms":
		list, ok := value.([]any)
		if !ok || len(list) == 0 {
			return errors.New("must be a list, as [RS256, ES256]")
		}
		for _, one := range list {
			o.Algorithms = append(o.Algorithms, fmt.Sprint(one))
		}
	default:
		return errors.New("is no field of an issuer; there are issuer, audience, algorithms and ca_file")
	}
	return nil
}

// trustOnly has an issuer trusted where the certificates of the file vouch for it.
func trustOnly(o *access.IssuerOptions, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return fmt.Errorf("%s holds no certificate as PEM", file)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	o.Transport = transport
	return nil
}

// decodeClaims reads what a token must say. It must be something: the tokens of a CI are those of all its customers.
func decodeClaims(value any) (access.Match, error) {
	raw, ok := value.(map[string]any)
	if !ok || len(raw) == 0 {
		return nil, errors.New("must say what the token must say, as {repository: acme/shop, ref: refs/heads/*}")
	}
	claims := access.Match{}
	for name, glob := range raw {
		text := fmt.Sprint(glob)
		if _, err := path.Match(text, ""); err != nil || text == "" || glob == nil {
			return nil, fmt.Errorf("%s: must be a glob, is %q", name, text)
		}
		claims[name] = text
	}
	return claims, nil
}

// validateIssuers refuses a key whose issuer the file does not name.
func (c *config) validateIssuers() error {
	for _, key := range c.Keys {
		named := slices.ContainsFunc(c.Issuers, func(i *access.Issuer) bool { return i.Name == key.Issuer })
		switch {
		case key.Issuer != "" && !named:
			return fmt.Errorf("%s.%s: issuer: %q is none of the %s", keysKey, key.Name, key.Issuer, issuersKey)
		case key.Issuer != "" && key.Claims == nil:
			return fmt.Errorf("%s.%s: claims: must be given with an issuer", keysKey, key.Name)
		case key.Issuer == "" && key.Claims != nil:
			return fmt.Errorf("%s.%s: claims: need an issuer beside them", keysKey, key.Name)
		}
	}
	return nil
}
