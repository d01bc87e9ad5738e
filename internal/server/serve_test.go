package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

// strange is a store that does what a test wants in Token and in Ready; all else is that of the real one.
type strange struct {
	tms.Store
	token func(ctx context.Context) error
	ready func(ctx context.Context) error
}

func (s strange) Token(ctx context.Context, pool string, key tms.LeaseKey) (tms.Token, error) {
	return tms.Token{Pool: pool, Value: key.Token, State: tms.Available}, s.token(ctx)
}

func (s strange) Ready(ctx context.Context) error { return s.ready(ctx) }

// serving is a Server that serves on a real listener until stop is called.
type serving struct {
	addr, url string
	stop      context.CancelFunc
	ended     chan error
}

func serve(t *testing.T, config Config) *serving {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &serving{listener.Addr().String(), "http://" + listener.Addr().String(), stop, make(chan error, 1)}
	go func() { s.ended <- New(config).Serve(ctx, listener) }()
	t.Cleanup(stop)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return s
}

// get answers with the status and the body, or with 0 and the error.
func get(url string) (int, string) {
	response, err := http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(text)
}

func (s *serving) lookup() (int, error) {
	response, err := http.Post(s.url+api.PathLookup, api.JSON, strings.NewReader(`{"token":"a"}`))
	if err != nil {
		return 0, err
	}
	response.Body.Close()
	return response.StatusCode, nil
}

// TestShutdownIsGraceful: readyz says no first, what is under way ends, then nothing listens any more.
func TestShutdownIsGraceful(t *testing.T) {
	inside, finish := make(chan struct{}), make(chan struct{})
	store := strange{ready: func(context.Context) error { return nil }, token: func(ctx context.Context) error {
		close(inside)
		<-finish
		return ctx.Err() // the end of Serve's context must not end the request's
	}}
	s := serve(t, Config{Store: store, Limits: Limits{DrainDelay: 300 * time.Millisecond}})
	slow := make(chan int, 1)
	go func() {
		status, _ := s.lookup()
		slow <- status
	}()
	<-inside
	if status, text := get(s.url + api.PathReady); status != 200 {
		t.Fatalf("before: %d %s", status, text)
	}
	s.stop()
	for status := 200; status != 503; status, _ = get(s.url + api.PathReady) {
		if status != 200 {
			t.Fatalf("readyz says %d before it says 503", status)
		}
	}
	for status := 200; status != 0; status, _ = get(s.url + api.PathLive) { // until nothing listens
	}
	select {
	case err := <-s.ended:
		t.Fatalf("Serve returned %v with a request under way", err)
	default:
	}
	close(finish)
	if status := <-slow; status != 200 {
		t.Errorf("the request under way was answered %d", status)
	}
	if err := <-s.ended; err != nil {
		t.Errorf("Serve returned %v", err)
	}
}

// TestShutdownCutsOffWhatDoesNotEnd: after ShutdownTimeout the contexts of requests end, and Serve returns only when no
// request is inside the store any more.
func TestShutdownCutsOffWhatDoesNotEnd(t *testing.T) {
	inside := make(chan struct{})
	var left atomic.Bool
	store := strange{token: func(ctx context.Context) error {
		close(inside)
		<-ctx.Done()
		time.Sleep(20 * time.Millisecond)
		left.Store(true)
		return ctx.Err()
	}}
	s := serve(t, Config{Store: store, Limits: Limits{ShutdownTimeout: 50 * time.Millisecond}})
	lookup := "POST /lookup-token HTTP/1.1\r\nHost: tms\r\nContent-Type: application/json\r\nContent-Length: " +
		"13\r\n\r\n{\"token\":\"a\"}"
	c := s.dial(t)
	io.WriteString(c, lookup)
	<-inside
	io.WriteString(c, lookup) // where another request waits, net/http does not notice that the first is cut off
	s.stop()
	if err := <-s.ended; err == nil || !strings.Contains(err.Error(), "1 requests were cut off after 50ms") ||
		!left.Load() {
		t.Errorf("Serve returned %v; the request has left the store: %v", err, left.Load())
	}
}

func TestServeReturnsTheListenersError(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	if err := New(Config{}).Serve(t.Context(), listener); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve returned %v", err)
	}
}

func TestReadySaysWhyNot(t *testing.T) {
	h := start(t, Config{Store: strange{ready: func(context.Context) error {
		return errors.New("maxmemory-policy is " +
			"allkeys-lru")
	}}})
	if p := h.refused(tms.ErrStoreUnavailable, "", "GET", api.PathReady, ""); !strings.Contains(p.Detail,
		"allkeys-lru") {
		t.Errorf("detail %q", p.Detail)
	}
	refuses := start(t, Config{Store: strange{ready: func(context.Context) error {
		return tms.Refuse(tms.ErrStoreUnavailable, "no password")
	}}})
	if p := refuses.refused(tms.ErrStoreUnavailable, "", "GET", api.PathReady, ""); p.Detail != "no password" {
		t.Errorf("detail %q", p.Detail)
	}
	slow := start(t, Config{Limits: Limits{ReadyTimeout: 10 * time.Millisecond},
		Store: strange{ready: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}}})
	slow.refused(tms.ErrStoreUnavailable, "", "GET", api.PathReady, "")
	ok[api.Health](slow, 200, "GET", api.PathLive, "")
}

type conn struct{ net.Conn }

func (s *serving) dial(t *testing.T) conn {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return conn{c}
}

func (c conn) live(within time.Duration) bool {
	fmt.Fprintf(c, "GET /livez HTTP/1.1\r\nHost: tms\r\n\r\n")
	return c.answered(within)
}

func (c conn) answered(within time.Duration) bool {
	c.SetReadDeadline(time.Now().Add(within))
	line, err := bufio.NewReader(c).ReadString('\n')
	return err == nil && strings.HasPrefix(line, "HTTP/1.1 200")
}

// TestSlowClientsAreCutOff: a header or a body that does not arrive in time, and a connection without requests.
func TestSlowClientsAreCutOff(t *testing.T) {
	s := serve(t, Config{Limits: Limits{HeaderTimeout: 100 * time.Millisecond, ReadTimeout: 200 * time.Millisecond,
		IdleTimeout: 100 * time.Millisecond}})
	for name, sent := range map[string]string{
		"half a header": "GET /livez HTTP/1.1\r\nHos",
		"half a body": "POST /assign-token HTTP/1.1\r\n" +
			"Host: tms\r\n" +
			"Content-Type: application/json\r\n" +
			"Content-Length: 100\r\n" +
			"\r\n" +
			"{",
		"idle": "GET /livez HTTP/1.1\r\nHost: tms\r\n\r\n",
	} {
		c := s.dial(t)
		io.WriteString(c, sent)
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.ReadAll(c); err != nil {
			t.Errorf("%s: the connection is not closed: %v", name, err)
		}
	}
}

func TestLongHeadersAreRefused(t *testing.T) {
	s := serve(t, Config{Limits: Limits{MaxHeaderBytes: 1 << 10}})
	if status, text := get(s.url + "/livez?" + strings.Repeat("x", 10_000)); status != 431 {
		t.Errorf("%d %s", status, text)
	}
}
