package main

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/manankarani/token-manager/internal/server"
)

// validateTLS refuses a certificate without its key, and the other way round.
func (c *config) validateTLS() error {
	switch {
	case c.TLSCert != "" && c.TLSKey == "":
		return errors.New("tls_key: must be given with tls_cert")
	case c.TLSCert == "" && (c.TLSKey != "" || c.TLSClientCA != ""):
		return errors.New("tls_cert: must be given with tls_key and tls_client_ca")
	}
	for _, key := range c.Keys {
		if key.Certificate != "" && c.TLSClientCA == "" {
			return fmt.Errorf("keys.%s: certificate: needs tls_client_ca, of who vouches for it", key.Name)
		}
	}
	return nil
}

// certificate reads that of the server; nil: it speaks no TLS.
func (c *config) certificate() (*server.Certificate, error) {
	if c.TLSCert == "" {
		return nil, nil
	}
	return server.LoadCertificate(server.CertificateFiles{Cert: c.TLSCert, Key: c.TLSKey, ClientCA: c.TLSClientCA})
}

// scheme returns how the address of the server begins.
func (c *config) scheme() string {
	if c.TLSCert == "" {
		return "http"
	}
	return "https"
}

const (
	caVariable      = envPrefix + "CA_FILE"
	certVariable    = envPrefix + "CERT_FILE"
	certKeyVariable = envPrefix + "CERT_KEY_FILE"
)

// secrecy names the files that a command needs over https.
type secrecy struct{ caFile, certFile, certKeyFile string }

func (s *secrecy) add(flags *pflag.FlagSet) {
	flags.StringVar(&s.caFile, "ca-file", "", fmt.Sprintf("`PATH` of the certificates to trust over https, as PEM "+
		"(default $%s, or those of the machine)", caVariable))
	flags.StringVar(&s.certFile, "cert-file", "", fmt.Sprintf("`PATH` of a certificate to show to the server, as PEM "+
		"(default $%s)", certVariable))
	flags.StringVar(&s.certKeyFile, "cert-key-file", "", fmt.Sprintf("`PATH` of the key of that certificate, as PEM "+
		"(default $%s)", certKeyVariable))
}

// orVariables returns the files of the environment where no flags name others.
func (s secrecy) orVariables() secrecy {
	return secrecy{cmp.Or(s.caFile, os.Getenv(caVariable)), cmp.Or(s.certFile, os.Getenv(certVariable)),
		cmp.Or(s.certKeyFile, os.Getenv(certKeyVariable))}
}

// config returns what a command needs to trust the certificates of the file, and no others, and to show its own; nil:
// it trusts those that the machine trusts, and has none.
func (s secrecy) config() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.caFile != "" {
		text, err := os.ReadFile(s.caFile)
		if err != nil {
			return nil, fmt.Errorf("--ca-file: %w", err)
		}
		if config.RootCAs = x509.NewCertPool(); !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("--ca-file: %s holds no certificate as PEM", s.caFile)
		}
	}
	if s.certFile != "" || s.certKeyFile != "" {
		pair, err := tls.LoadX509KeyPair(s.certFile, s.certKeyFile)
		if err != nil {
			return nil, fmt.Errorf("--cert-file, --cert-key-file: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
