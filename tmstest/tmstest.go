// Package tmstest gives tests a real TMS server: real HTTP on the loopback interface over a store in memory, with the
// expiry manager and waiting. It can be told to lose answers, to be slow and to be down.
//
//	server := tmstest.New(t, tmstest.WithPool("licences", tms.PolicyChange{}, "KEY-1", "KEY-2"))
//	held, err := server.Client().Acquire(t.Context(), "licences")
package tmstest

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/client"
	"github.com/manankarani/token-manager/internal/node"
	"github.com/manankarani/token-manager/internal/store/embedded"
)

// Server is a running TMS server. It ends with its test. Its methods are safe for concurrent use.
type Server struct {
	URL string // for client.New, or for any HTTP client

	t     testing.TB
	node  *node.Node
	store tms.Sweeper
	http  *http.Client // nil: the network
	*misbehaviour
}

// Option changes how a Server starts.
type Option func(*options)

type options struct {
	clock    func() time.Time
	pools    []pool
	inMemory bool
}

type pool struct {
	name   string
	change tms.PolicyChange
	tokens []string
}

// WithClock has the store take every instant from now, so that a test can let leases end without waiting. It must not
// go back. Clients go on to count their leases on the real clock. Default: the real time.
func WithClock(now func() time.Time) Option { return func(o *options) { o.clock = now } }

// WithPool makes a pool with a policy, and puts tokens into it. It can be given several times, also for the pool
// [tms.DefaultPool].
func WithPool(name string, change tms.PolicyChange, tokens ...string) Option {
	return func(o *options) { o.pools = append(o.pools, pool{name, change, tokens}) }
}

// New starts a server. The test fails at once if that does not succeed.
func New(t testing.TB, opts ...Option) *Server {
	t.Helper()
	var o options
	for _, set := range opts {
		set(&o)
	}
	memory, err := embedded.Open(embedded.Options{Now: o.clock})
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, node: node.New(memory, node.Options{}), misbehaviour: newMisbehaviour()}
	s.store = s.node.Store()
	s.run(s.listen(o.inMemory))
	for _, p := range o.pools {
		s.put(p)
	}
	return s
}

// listen returns where the server is to be reached, and sets how.
func (s *Server) listen(inMemory bool) net.Listener {
	s.t.Helper()
	if inMemory {
		listener := newPipes()
		s.URL, s.http = "http://localhost", listener.httpClient()
		return listener
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.URL = "http://" + listener.Addr().String()
	return listener
}

// run serves until the test ends.
func (s *Server) run(listener net.Listener) {
	var running sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	hs := &http.Server{Handler: s.wrap(s.node.Handler()), ErrorLog: quiet}
	running.Go(func() { s.node.Sweep(ctx) })
	running.Go(func() { hs.Serve(gate{listener, s.misbehaviour}) })
	s.t.Cleanup(func() {
		s.Down()
		hs.Close()
		stop()
		running.Wait()
		s.node.Close()
	})
}

func (s *Server) put(p pool) {
	s.t.Helper()
	ctx := context.Background()
	if _, err := s.store.PutPool(ctx, p.name, p.change); err != nil {
		s.t.Fatalf("pool %s: %v", p.name, err)
	}
	request := tms.GenerateRequest{}
	for _, value := range p.tokens {
		request.Tokens = append(request.Tokens, tms.NewToken{Value: value})
	}
	if len(p.tokens) == 0 {
		return
	}
	if _, err := s.store.Generate(ctx, p.name, request); err != nil {
		s.t.Fatalf("pool %s: %v", p.name, err)
	}
}

// Store returns the server's store, which the test can look at and change without HTTP, even while the server is down.
func (s *Server) Store() tms.Sweeper { return s.store }

// HTTPClient returns a client that reaches the server at its URL.
func (s *Server) HTTPClient() *http.Client { return cmp.Or(s.http, http.DefaultClient) }

// Client returns a new client of the server. It is closed when the test ends.
func (s *Server) Client(opts ...client.Option) *client.Client {
	s.t.Helper()
	if s.http != nil {
		opts = append([]client.Option{client.WithHTTPClient(s.http)}, opts...)
	}
	c, err := client.New(s.URL, opts...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}
