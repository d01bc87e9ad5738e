package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/access"
	"github.com/manankarani/token-manager/internal/loopback"
	"github.com/manankarani/token-manager/internal/server"
	"github.com/manankarani/token-manager/internal/store/embedded"
)

// securely serves a node over TLS, where certificates of the authority can be keys, until the test ends.
func securely(t *testing.T, authority *loopback.Authority) *guarded {
	t.Helper()
	opened, err := embedded.Open(embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	files := server.CertificateFiles{ClientCA: authority.File}
	files.Cert, files.Key = authority.Issue(t.TempDir(), 2)
	certificate, err := server.LoadCertificate(files)
	if err != nil {
		t.Fatal(err)
	}
	g := serveOptions(t, opened, true, Options{HTTP: server.Config{Certificate: certificate}})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	g.must(err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- g.Serve(ctx, listener, nil) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	g.url = "https://" + listener.Addr().String()
	return g
}

// showing returns a client that trusts the authority, and shows the certificate that another one has issued.
func (g *guarded) showing(trusted, issuer *loopback.Authority, name string) *http.Client {
	g.Helper()
	cert, key := issuer.IssueTo(name)
	pair, err := tls.LoadX509KeyPair(cert, key)
	g.must(err)
	text, err := os.ReadFile(trusted.File)
	g.must(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	// whatever the server says of whom it trusts
	show := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, GetClientCertificate: show},
		ForceAttemptHTTP2: true}
	g.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

// A certificate of the server's authority opens what its key may. One that no key is opens nothing, and with one of
// another authority there is not even a connection, whatever the request is, and whatever key it brings.
func TestCertificatesThatDoNotCountOpenNothing(t *testing.T) {
	authority, stranger := loopback.NewAuthority(t), loopback.NewAuthority(t)
	g := securely(t, authority)
	good := g.admit("good", time.Time{}, "all")
	all := []tms.Grant{{Right: tms.Run, Pools: "*"}}
	g.all = append(g.all, access.Key{Name: "build", Certificate: "build", May: all})
	g.ring.Set(g.all)
	known, unknown := g.showing(authority, authority, "build"), g.showing(authority, authority, "other")
	strange := g.showing(authority, stranger, "build")
	for row := range rows {
		g.http = known
		if status, code := g.ask(row); status == 0 || status >= 300 && row != noRoute {
			t.Errorf("%s with a certificate that counts: %d %s", row, status, code)
		}
		g.http = unknown
		if status, code := g.ask(row); status != 401 || code != "unauthenticated" {
			t.Errorf("%s with a certificate that is no key: %d %s", row, status, code)
		}
		g.http = strange
		for _, authorization := range [][]string{nil, {"Bearer " + good}} {
			if status, code := g.ask(row, authorization...); status != 0 {
				t.Errorf("%s with a certificate of another authority: %d %s", row, status, code)
			}
		}
	}
}

// Over HTTP/2, too, who gives up waiting leaves nothing: no place in the queue, and no token that nobody holds.
func TestWhoGivesUpOverHTTP2LeavesNothing(t *testing.T) {
	authority := loopback.NewAuthority(t)
	g := securely(t, authority)
	key := g.admit("k", time.Time{}, "all")
	_, err := g.Store().PutPool(t.Context(), "p", tms.PolicyChange{})
	g.must(err)
	c := g.showing(authority, authority, "other")
	for range 5 {
		ctx, giveUp := context.WithCancel(t.Context())
		answered := make(chan error, 1)
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url+"/assign-token",
			strings.NewReader(`{"pool":"p","wait":"20s"}`))
		g.must(err)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+key)
		go func() {
			response, err := c.Do(r)
			if err == nil {
				response.Body.Close()
			}
			answered <- err
		}()
		waiting := func(want int) func() bool {
			return func() bool {
				_, stats, err := g.Store().Pool(t.Context(), "p")
				return err == nil && stats.Waiting == want
			}
		}
		waitUntil(t, waiting(1))
		giveUp()
		if err := <-answered; err == nil {
			t.Error("it is answered")
		}
		waitUntil(t, waiting(0))
		_, err = g.Store().Generate(t.Context(), "p", tms.GenerateRequest{Tokens: []tms.NewToken{{Value: "a"}}})
		g.must(err)
		token, err := g.Store().Token(t.Context(), "p", tms.LeaseKey{Token: "a"})
		if err != nil || token.State != tms.Available {
			t.Errorf("the token is %+v, error %v", token, err)
		}
		g.must(g.Store().DeletePool(t.Context(), "p"))
		_, err = g.Store().PutPool(t.Context(), "p", tms.PolicyChange{})
		g.must(err)
	}
}
