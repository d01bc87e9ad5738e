package server

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
)

// Certificate is the certificate of a server, and whom it trusts to vouch for clients. Both are read again when their
// files change. It is made with [LoadCertificate], and safe for concurrent use.
type Certificate struct {
	files   CertificateFiles
	current atomic.Pointer[tls.Config]

	mu   sync.Mutex
	last [3][]byte // the files as they were read
}

// CertificateFiles are those of a [Certificate], all as PEM.
type CertificateFiles struct {
	Cert     string // the server's, with those that vouch for it behind it
	Key      string // the key of that
	ClientCA string // those that vouch for clients; empty: no client is asked for a certificate
}

// LoadCertificate reads the files.
func LoadCertificate(files CertificateFiles) (*Certificate, error) {
	c := &Certificate{files: files}
	if _, err := c.Reread(); err != nil {
		return nil, err
	}
	return c, nil
}

// Reread reads the files again, and reports whether they have changed. It is heeded by new connections; those that
// stand go on. Where the files do not fit together, as while only one of them was replaced, those before stay.
func (c *Certificate) Reread() (changed bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.last
	for i, file := range []struct{ setting, path string }{
		{"tls_cert", c.files.Cert}, {"tls_key", c.files.Key}, {"tls_client_ca", c.files.ClientCA},
	} {
		if file.path == "" {
			continue
		}
		if now[i], err = os.ReadFile(file.path); err != nil {
			return false, fmt.Errorf("%s: %w", file.setting, err)
		}
	}
	if c.current.Load() != nil && slices.EqualFunc(now[:], c.last[:], bytes.Equal) {
		return false, nil
	}
	config, err := secured(now[0], now[1], now[2])
	if err != nil {
		return false, err
	}
	c.last = now
	c.current.Store(config)
	return true, nil
}

// secured returns what a connection needs to speak TLS.
func secured(cert, key, clientCA []byte) (*tls.Config, error) {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("tls_cert, tls_key: %w", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{http2, "http/1.1"},
		Certificates: []tls.Certificate{pair}}
	if clientCA == nil {
		return config, nil
	}
	config.ClientAuth, config.ClientCAs = tls.VerifyClientCertIfGiven, x509.NewCertPool()
	if !config.ClientCAs.AppendCertsFromPEM(clientCA) {
		return nil, errors.New("tls_client_ca: holds no certificate as PEM")
	}
	config.SessionTicketsDisabled = true // a session that is resumed would be vouched for by who was trusted before
	return config, nil
}

// config returns that of a listener.
func (c *Certificate) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.current.Load(), nil }}
}
