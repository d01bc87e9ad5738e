package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Client talks to a TMS server. It is a [tms.Store], safe for concurrent use, and made with [New].
type Client struct {
	options
	base    *url.URL
	wire    wire
	keepers *keepers
	work    work
}

// New returns a client for the server at address, such as "http://127.0.0.1:8080" or "https://tms.example/prefix". It
// fails where the address is none, and does not ask the server.
func New(address string, opts ...Option) (*Client, error) {
	base, err := parse(address)
	if err != nil {
		return nil, err
	}
	c := &Client{base: base, options: options{
		userAgent:      "tms-client",
		requestTimeout: DefaultRequestTimeout,
		retryFor:       DefaultRetryFor,
		clock:          clock{machine.slept},
	}}
	for _, set := range opts {
		set(&c.options)
	}
	if c.http == nil {
		c.http = &http.Client{Transport: newTransport(c.tls), CheckRedirect: stay}
	}
	c.wire.now = c.http
	c.keepers = newKeepers(c.keepAliveOnce, c.Unblock)
	c.keepers.clock = c.clock
	c.work.ended, c.work.end = context.WithCancel(context.Background())
	return c, nil
}

// parse reads the server's address. Errors do not repeat it, because it may hold a password.
func parse(address string) (*url.URL, error) {
	base, err := url.Parse(address)
	switch {
	case !strings.HasPrefix(address, "http://") && !strings.HasPrefix(address, "https://"):
		return nil, fmt.Errorf("client: the server's address must begin with http:// or https://")
	case err != nil:
		return nil, fmt.Errorf("client: the server's address is no URL: %w", bare(err))
	case base.Host == "":
		return nil, fmt.Errorf("client: the server's address has no host")
	case base.User != nil:
		return nil, fmt.Errorf("client: the server's address must not hold a user or password")
	case base.RawQuery != "" || base.Fragment != "":
		return nil, fmt.Errorf("client: the server's address must not hold a query or fragment")
	}
	return base, nil
}

// A connection of HTTP/2 that says nothing for a while, under a request that waits, is asked whether it still stands.
const (
	pingAfter = 10 * time.Second
	pingFor   = 5 * time.Second
)

// newTransport returns a transport that keeps as many connections as a busy program uses. It drops idle ones before the
// server does.
func newTransport(secure *tls.Config) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConns, t.MaxIdleConnsPerHost = 100, 100
	t.IdleConnTimeout = time.Minute
	t.DisableCompression = true
	t.TLSClientConfig = secure.Clone()
	t.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingFor}
	if secure != nil && (len(secure.Certificates) > 0 || secure.GetClientCertificate != nil) {
		// over HTTP/2 a server that refuses the certificate would not be heard to say so
		t.Protocols = new(http.Protocols)
		t.Protocols.SetHTTP1(true)
	}
	return t
}

// stay follows no redirection: many clients would turn a POST into a GET on the way.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Close gives back all that [Client.Acquire] gave and that is still held, ends each Acquire under way, waits for what
// it may have taken to be given back, and frees the connections. It takes a few seconds at most. It returns what kept
// the server from hearing of it.
func (c *Client) Close() error {
	c.work.close()
	err := errors.Join(c.keepers.close(), c.work.wait(releaseFor))
	c.wire.close()
	return err
}
