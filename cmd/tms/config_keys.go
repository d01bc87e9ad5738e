package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/access"
)

const (
	keysKey  = "keys"
	authOff  = "off"
	authKeys = "keys"

	readAgainEvery = time.Second
)

// decodeKeys reads the keys of the file: names, each with a hash or the file of one, and what it may.
func decodeKeys(value any) ([]access.Key, error) {
	if value == nil {
		return nil, nil
	}
	raw, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s: must be names of keys, each with its hash and what it may", keysKey)
	}
	var keys []access.Key
	names := map[proof]string{}
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		key, err := decodeKey(name, raw[name])
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", keysKey, name, err)
		}
		is := proof{key.Hash, key.Certificate}
		if other, twice := names[is]; twice && key.Issuer == "" {
			return nil, fmt.Errorf("%s.%s: has the hash or certificate of %s; each needs its own", keysKey, name, other)
		}
		names[is] = name
		keys = append(keys, key)
	}
	return keys, nil
}

// proof is by what a key is known.
type proof struct {
	hash        access.Hash
	certificate string
}

func decodeKey(name string, value any) (key access.Key, err error) {
	if err := tms.ValidatePoolName("name", name); err != nil {
		return key, err
	}
	fields, ok := value.(map[string]any)
	if !ok {
		return key, errors.New("must be a key: hash or hash_file, may, and perhaps expires")
	}
	key.Name = name
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		if err := decodeKeyField(&key, field, fields[field]); err != nil {
			return key, fmt.Errorf("%s: %w", field, err)
		}
	}
	if err := decodeKeyRate(&key, fields); err != nil {
		return key, err
	}
	proofs := 0
	for _, field := range []string{"hash", "hash_file", "certificate", "issuer"} {
		if _, given := fields[field]; given {
			proofs++
		}
	}
	switch {
	case proofs != 1:
		return key, errors.New("must have a hash, or a hash_file, as tms key new prints it, or a certificate, " +
			"or an issuer with claims")
	case len(key.May) == 0:
		return key, errors.New("may: must say what the key may, as [hold@licences, watch]")
	}
	return key, nil
}

func decodeKeyField(key *access.Key, field string, value any) (err error) {
	text, isText := value.(string)
	texts := []string{"hash", "hash_file", "certificate", "issuer"}
	if slices.Contains(texts, field) && (!isText || text == "") {
		return errors.New("must be a text")
	}
	switch field {
	case "hash":
		key.Hash, err = access.ParseHash(text)
	case "hash_file":
		var content []byte
		if content, err = os.ReadFile(text); err == nil {
			key.Hash, err = access.ParseHash(strings.TrimSpace(string(content)))
		}
	case "certificate":
		key.Certificate = text
	case "issuer":
		key.Issuer = text
	case "claims":
		key.Claims, err = decodeClaims(value)
	case "may":
		key.May, err = decodeGrants(value)
	case "expires":
		key.Expires, err = decodeInstant(value)
	case "rate_limit", "rate_burst": // together: see decodeKeyRate
	default:
		err = errors.New("is no field of a key; there are hash, hash_file, certificate, issuer, claims, may, " +
			"expires, rate_limit and rate_burst")
	}
	return err
}

func decodeGrants(value any) (grants []tms.Grant, err error) {
	list, ok := value.([]any)
	if !ok {
		return nil, errors.New("must be a list, as [hold@licences, watch]")
	}
	for _, one := range list {
		grant, err := tms.ParseGrant(fmt.Sprint(one))
		if err != nil {
			return nil, detailOf(err)
		}
		grants = append(grants, grant)
	}
	return grants, nil
}

// detailOf returns what a refusal says, for where its field and code are said otherwise.
func detailOf(err error) error {
	var refusal *tms.Refusal
	if errors.As(err, &refusal) {
		return errors.New(refusal.Detail)
	}
	return err
}

// decodeInstant reads a day, which begins in UTC, or an instant. The library has read an unquoted one already.
func decodeInstant(value any) (time.Time, error) {
	if at, ok := value.(time.Time); ok {
		return at, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if at, err := time.Parse(layout, fmt.Sprint(value)); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("must be a day or an instant, as 2027-01-31 or 2027-01-31T12:00:00Z, is %q",
		fmt.Sprint(value))
}

// validateAuth refuses keys that nobody would ask for, and to ask for keys where there is none.
func (c *config) validateAuth() error {
	switch {
	case c.Auth != authOff && c.Auth != authKeys:
		return oneOf("auth", c.Auth, authOff, authKeys)
	case c.Auth == authOff && len(c.Keys) > 0:
		return fmt.Errorf("%s: are given, but nobody is asked for one; say auth: %s", keysKey, authKeys)
	case c.Auth == authKeys && len(c.Keys) == 0:
		return fmt.Errorf("auth: is %s, but the file has no %s; tms key new makes one", authKeys, keysKey)
	}
	return nil
}

// keyring returns the keys of the file; nil: nobody is asked for one.
func (c *config) keyring() *access.Keyring {
	if c.Auth != authKeys {
		return nil
	}
	ring := access.NewKeyring(nil, c.Issuers...)
	ring.Set(c.Keys)
	return ring
}

// keysNow reads the keys of the file again.
func (c *config) keysNow() ([]access.Key, error) {
	values, err := readFile(c.Config)
	if err != nil {
		return nil, err
	}
	now := &config{Issuers: c.Issuers}
	if now.Keys, err = decodeKeys(values[keysKey]); err != nil {
		return nil, err
	}
	return now.Keys, now.validateIssuers()
}

// rereadKeys returns a function that gives the keyring the keys of the file, if they have changed.
func (c *config) rereadKeys(ring *access.Keyring) func() (bool, error) {
	last := c.Keys
	return func() (bool, error) {
		keys, err := c.keysNow()
		if err != nil || reflect.DeepEqual(keys, last) {
			return false, err
		}
		ring.Set(keys)
		last = keys
		return true, nil
	}
}

// watchFile reads something again until ctx ends, so that a change is heeded within two seconds. While it cannot be
// read, what was read last stays.
func watchFile(ctx context.Context, what string, reread func() (changed bool, err error), logger *slog.Logger) {
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(readAgainEvery):
		}
		switch changed, err := reread(); {
		case err != nil && err.Error() != said:
			said = err.Error()
			logger.Error("a file cannot be read again; what was read last stays", "what", what, "error", err)
		case err == nil:
			said = ""
			if changed {
				logger.Info("a file has changed, and was read again", "what", what)
			}
		}
	}
}
