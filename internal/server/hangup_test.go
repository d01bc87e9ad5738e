package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

const (
	assignLine = "POST /assign-token HTTP/1.1\r\nHost: tms\r\nContent-Length: 0\r\n\r\n"
	assignBody = "POST /assign-token HTTP/1.1\r\nHost: tms\r\nContent-Type: application/json\r\nContent-Length: " +
		"%d\r\n\r\n%s"
)

// leaving is a server over a real store with n tokens, whose assigns stay inside the store until the server has noticed
// that the client hung up. Like that of any store, an assign fails when its context ends before it is durable.
type leaving struct {
	*harness
	srv     *httptest.Server
	inside  chan struct{} // one for each assign that has its tokens
	noticed chan struct{}
	counted observed
}

func startLeaving(t *testing.T, n int) *leaving {
	l := &leaving{harness: &harness{t: t}, inside: make(chan struct{}, 1), noticed: make(chan struct{}, 1)}
	l.store = l.open()
	if _, err := l.store.Generate(t.Context(), "default", tms.GenerateRequest{Tokens: make([]tms.NewToken,
		n)}); err != nil {
		t.Fatal(err)
	}
	handler := New(Config{Observe: l.counted.observe, Store: assigning{Store: l.store,
		after: func(ctx context.Context, r tms.AssignRequest, _ []tms.Token) error {
			l.inside <- struct{}{}
			<-l.noticed
			if r.Wait > 0 {
				return nil // for this the store that waits has a context of its own
			}
			return ctx.Err()
		}}}).Handler()
	l.srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		context.AfterFunc(r.Context(), func() { l.noticed <- struct{}{} })
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(l.srv.Close)
	return l
}

func (l *leaving) dial() *net.TCPConn {
	l.t.Helper()
	c, err := net.Dial("tcp", l.srv.Listener.Addr().String())
	if err != nil {
		l.t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

func (h *harness) assigned() int {
	h.t.Helper()
	_, stats, err := h.store.Pool(h.t.Context(), "default")
	if err != nil {
		h.t.Fatal(err)
	}
	return stats.Assigned
}

func TestAClientThatHungUpHoldsNothing(t *testing.T) {
	for name, body := range map[string]string{"one": "{}", "several": `{"count":700}`, "waiting": `{"wait":"10s"}`} {
		l := startLeaving(t, 1_000)
		c := l.dial()
		fmt.Fprintf(c, assignBody, len(body), body)
		<-l.inside
		if l.assigned() == 0 {
			t.Fatalf("%s: nothing was assigned", name)
		}
		c.Close()
		waitFor(t, "POST /assign-token 499", l.counted.last)
		if n := l.assigned(); n != 0 {
			t.Errorf("%s: %d tokens stay assigned to a client that hung up", name, n)
		}
	}
}

// TestAClientThatStillReadsIsToldTheTruth hangs up for one direction only.
func TestAClientThatStillReadsIsToldTheTruth(t *testing.T) {
	l := startLeaving(t, 1)
	c := l.dial()
	defer c.Close()
	io.WriteString(c, assignLine)
	<-l.inside
	c.CloseWrite()
	text, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 503 ") ||
		!strings.Contains(string(text), `"code":"store_unavailable"`) {
		t.Errorf("read %s, error %v; want a refusal", text, err)
	}
	if n := l.assigned(); n != 0 {
		t.Errorf("%d tokens stay assigned", n)
	}
}

// TestARepeatFetchesWhatAClientThatHungUpWasGiven: with a request_id nothing is taken back.
func TestARepeatFetchesWhatAClientThatHungUpWasGiven(t *testing.T) {
	l := startLeaving(t, 2)
	const body = `{"request_id":"r-1"}`
	c := l.dial()
	fmt.Fprintf(c, assignBody, len(body), body)
	<-l.inside
	c.Close()
	waitFor(t, "POST /assign-token 200", l.counted.last)
	again := l.dial()
	defer again.Close()
	fmt.Fprintf(again, assignBody, len(body), body)
	<-l.inside
	l.noticed <- struct{}{}
	line, err := bufio.NewReader(again).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "HTTP/1.1 200") || l.assigned() != 1 {
		t.Errorf("the repeat was answered %q, error %v; %d tokens are assigned", line, err, l.assigned())
	}
}

// unwritable is a ResponseWriter whose client cannot be written to: at once, or when it comes to the network.
type unwritable struct {
	http.ResponseWriter
	write, flush error
}

func (u unwritable) Write(p []byte) (int, error) { return len(p), u.write }
func (u unwritable) FlushError() error           { return u.flush }

func TestAnAnswerThatCannotBeWrittenIsTakenBack(t *testing.T) {
	h := start(t, Config{})
	h.store.Generate(t.Context(), "default", tms.GenerateRequest{Tokens: make([]tms.NewToken, 9)})
	broken := errors.New("connection reset")
	for _, c := range []struct {
		write, flush error
		body         string
		assigned     int
	}{
		{broken, nil, "", 0},
		{nil, broken, "", 0},
		{broken, broken, `{"request_id":"r"}`, 1}, // a repeat fetches it
		{nil, http.ErrNotSupported, "", 2},
		{nil, nil, "", 3},
	} {
		r := httptest.NewRequest("POST", api.PathAssign, strings.NewReader(c.body))
		r.Header.Set("Content-Type", api.JSON)
		New(Config{Store: h.store}).Handler().ServeHTTP(unwritable{httptest.NewRecorder(), c.write, c.flush}, r)
		if n := h.assigned(); n != c.assigned {
			t.Errorf("%+v: %d tokens are assigned", c, n)
		}
	}
}

// stubborn is a store that unblocks nothing.
type stubborn struct{ tms.Store }

func (stubborn) Unblock(ctx context.Context, _ string, _ []tms.LeaseKey) ([]tms.TokenResult, error) {
	if _, ok := ctx.Deadline(); !ok {
		return nil, errors.New("nothing ends this call")
	}
	return nil, tms.Refuse(tms.ErrStoreUnavailable, "SECRET is away")
}

// TestWhatCannotBeTakenBackIsAFailure: the store's refusal to unblock must not read as a refusal to assign.
func TestWhatCannotBeTakenBackIsAFailure(t *testing.T) {
	h := &harness{t: t}
	h.store = h.open()
	h.store.Generate(t.Context(), "default", tms.GenerateRequest{Tokens: make([]tms.NewToken, 1)})
	ctx, hangUp := context.WithCancel(t.Context())
	handler := New(Config{Store: assigning{Store: stubborn{h.store},
		after: func(context.Context, tms.AssignRequest, []tms.Token) error { hangUp(); return nil }}}).Handler()
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequestWithContext(ctx, "POST", api.PathAssign, nil))
	if text := recorder.Body.String(); recorder.Code != 500 || !strings.Contains(text, `"code":"failed"`) ||
		strings.Contains(text, "SECRET") {
		t.Errorf("%d %s", recorder.Code, text)
	}
}

// hungUp is the key under which a test puts a request's own context into that context, where the store finds it.
type hungUp struct{}

// TestClientsThatHangUpAtAnyMoment closes connections at random moments of assigns, half of which wait, until in the
// end there is nothing left to be given. Whoever was not counted as answered holds nothing, and nobody waits any more:
// an answer that is on its way when the client hangs up is all that may stay.
func TestClientsThatHangUpAtAnyMoment(t *testing.T) {
	const clients, rounds = 16, 40
	var answered atomic.Int64
	lost := make(chan tms.Token, clients*rounds) // given to those who had hung up by then
	h := &harness{t: t}
	h.store = h.open()
	h.store.Generate(t.Context(), "default", tms.GenerateRequest{Tokens: make([]tms.NewToken, 60)})
	slow := assigning{Store: h.store, after: func(ctx context.Context, _ tms.AssignRequest, given []tms.Token) error {
		time.Sleep(rand.N(2 * time.Millisecond))
		if given != nil && ctx.Value(hungUp{}).(context.Context).Err() != nil {
			lost <- given[0]
		}
		return nil
	}}
	handler := New(Config{Store: slow, Observe: func(_, _ string, status int, _ time.Duration) {
		if status == http.StatusOK {
			answered.Add(1)
		}
	}}).Handler()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), hungUp{}, r.Context())))
	}))
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			for range rounds {
				hangUpSoon(t, srv.Listener.Addr().String(), [2]string{"{}", `{"wait":"30s"}`}[rand.N(2)])
			}
		})
	}
	group.Wait()
	srv.Close() // which waits for the requests
	// What is said to the store for those who hung up is said behind their requests.
	waitFor(t, fmt.Sprintf("%d assigned, 0 wait", answered.Load()), func() string {
		_, stats, err := h.store.Pool(t.Context(), "default")
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("%d assigned, %d wait", stats.Assigned, stats.Waiting)
	})
	if len(lost) == 0 {
		t.Error("nobody hung up in time")
	}
	for range len(lost) {
		given := <-lost
		now, err := h.store.Token(t.Context(), "default", tms.LeaseKey{Token: given.Value})
		if err != nil || now.Lease != nil && now.Lease.Fence == given.Lease.Fence {
			t.Errorf("a lease of one who had hung up stays: %+v, error %v", now.Lease, err)
		}
	}
}

func hangUpSoon(t *testing.T, addr, body string) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return
	}
	fmt.Fprintf(c, assignBody, len(body), body)
	time.Sleep(rand.N(2 * time.Millisecond))
	c.Close()
}
