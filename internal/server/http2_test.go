package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
	"github.com/manankarani/token-manager/internal/loopback"
)

// shared returns a client all of whose requests go over one connection, and one that is another.
func (s *secure) shared() *http.Client {
	s.Helper()
	text, err := os.ReadFile(s.authority.File)
	if err != nil {
		s.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(text)
	t := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted, ServerName: "localhost"},
		ForceAttemptHTTP2: true}
	s.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t, Timeout: 30 * time.Second}
}

// ask sends a request, and returns the status; 0: there is no answer.
func (s *secure) ask(ctx context.Context, c *http.Client, path string, body io.Reader) int {
	method := http.MethodPost
	if body == nil {
		method = http.MethodGet
	}
	r, err := http.NewRequestWithContext(ctx, method, "https://"+s.addr+path, body)
	if err != nil {
		s.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := c.Do(r)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	if response.ProtoMajor != 2 {
		s.Errorf("the answer is one of %s", response.Proto)
	}
	io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

// stuck is a store whose lookups and lists take until they are told to end, or nobody waits for them.
func stuck() (store tms.Store, inside *atomic.Int64, end func()) {
	inside, ended := new(atomic.Int64), make(chan struct{})
	wait := func(ctx context.Context) error {
		inside.Add(1)
		defer inside.Add(-1)
		select {
		case <-ended:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return listing{strange{ready: func(context.Context) error { return nil }, token: wait}}, inside,
		sync.OnceFunc(func() { close(ended) })
}

// listing is a store that lists pools as it looks up tokens.
type listing struct{ strange }

func (l listing) Pools(ctx context.Context, _ string, _ int) (tms.PoolPage, error) {
	return tms.PoolPage{}, l.token(ctx)
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come to that: %s", what)
		}
	}
}

const lookupBody = `{"token":"a"}`

// Requests of one connection are counted each: there are no more than connections, others are refused, and those that
// go first get through. Whoever gives up makes room.
func TestRequestsOverOneConnectionAreBounded(t *testing.T) {
	store, inside, end := stuck()
	defer end()
	s := serveTLS(t, Config{Store: holding{store.(listing).strange}, Limits: Limits{MaxConnections: 4}})
	one := s.shared()
	for round := range 3 {
		ctx, giveUp := context.WithCancel(t.Context())
		var asked sync.WaitGroup
		for range 4 {
			asked.Go(func() { s.ask(ctx, one, api.PathLookup, strings.NewReader(lookupBody)) })
		}
		eventually(t, "four are carried out", func() bool { return inside.Load() == 4 })
		for who, c := range map[string]*http.Client{"the same": one, "another": s.shared()} {
			if status := s.ask(t.Context(), c, api.PathLookup, strings.NewReader(lookupBody)); status != 503 {
				t.Errorf("round %d: a lookup over %s connection: %d", round, who, status)
			}
			if status := s.ask(t.Context(), c, api.PathKeepAlive, strings.NewReader(lookupBody)); status != 200 {
				t.Errorf("round %d: a keep-alive over %s connection: %d", round, who, status)
			}
		}
		giveUp()
		asked.Wait()
		eventually(t, "nobody is inside", func() bool { return inside.Load() == 0 })
	}
	end()
	for range 4 {
		if status := s.ask(t.Context(), one, api.PathLookup, strings.NewReader(lookupBody)); status != 200 {
			t.Errorf("a lookup when there is room again: %d", status)
		}
	}
}

// Requests whose bodies do not come give way, with their connection, to others.
func TestRequestsThatDoNotComeGiveWay(t *testing.T) {
	store, _, end := stuck()
	end()
	s := serveTLS(t, Config{Store: store, Limits: Limits{MaxConnections: 4}})
	slow, cut := s.shared(), make(chan int, 4+ReservedConnections)
	for range cap(cut) {
		never, w := io.Pipe()
		defer w.Close()
		go func() { cut <- s.ask(t.Context(), slow, api.PathLookup, never) }()
	}
	other := s.shared()
	eventually(t, "another is let in", func() bool {
		return s.ask(t.Context(), other, api.PathLookup, strings.NewReader(lookupBody)) == 200 && len(cut) > 0
	})
	for range cap(cut) {
		if status := <-cut; status != 0 && status != 503 {
			t.Errorf("one that did not come is answered %d", status)
		}
	}
	if status := s.ask(t.Context(), slow, api.PathLookup, strings.NewReader(lookupBody)); status != 200 {
		t.Errorf("over a new connection of the slow one: %d", status)
	}
}

// greetHTTP2 opens a connection of HTTP/2 that the test speaks itself.
func (s *secure) greetHTTP2() *loopback.HTTP2 {
	s.Helper()
	conn, err := s.dial(func(c *tls.Config) { c.NextProtos = []string{http2} })
	if err != nil {
		s.Fatal(err)
	}
	h, err := loopback.NewHTTP2(conn)
	if err != nil {
		s.Fatal(err)
	}
	return h
}

// A connection carries so many requests at once; one more is refused before anything was done.
func TestStreamsAreBounded(t *testing.T) {
	store, inside, end := stuck()
	defer end()
	s := serveTLS(t, Config{Store: store})
	h := s.greetHTTP2()
	for range maxStreams + 1 {
		if _, err := h.Ask(http.MethodGet, "/pools", true); err != nil {
			t.Fatal(err)
		}
	}
	for {
		kind, stream, payload, err := h.Read()
		if err != nil {
			t.Fatalf("no stream was refused: %v", err)
		}
		const refused = 7
		if kind == loopback.FrameReset && stream == 2*maxStreams+1 && binary.BigEndian.Uint32(payload) == refused {
			break
		}
	}
	eventually(t, "all others are carried out", func() bool { return inside.Load() == maxStreams })
}

// Requests that are begun and given up at once, again and again, cost the connection, and leave nothing.
func TestRapidReset(t *testing.T) {
	store, inside, end := stuck()
	defer end()
	s := serveTLS(t, Config{Store: store, Limits: Limits{MaxConnections: 4}})
	h := s.greetHTTP2()
	go func() { // so that the server can write
		for {
			if _, _, _, err := h.Read(); err != nil {
				return
			}
		}
	}()
	closed := false
	for began := time.Now(); !closed && time.Since(began) < 10*time.Second; { // the sockets take many of them
		stream, err := h.Ask(http.MethodGet, "/pools", true)
		closed = err != nil || h.Reset(stream) != nil
	}
	if !closed {
		t.Error("the connection stands")
	}
	eventually(t, "nothing is inside", func() bool { return inside.Load() == 0 })
	end()
	for range 8 {
		if status := s.ask(t.Context(), s.shared(), api.PathLookup, strings.NewReader(lookupBody)); status != 200 {
			t.Errorf("another is answered %d", status)
		}
	}
}
