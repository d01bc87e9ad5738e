package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

// pipes is a listener whose connections are pipes.
type pipes struct{ net.Listener }

func (pipes) Accept() (net.Conn, error) {
	ours, _ := net.Pipe()
	return ours, nil
}

// crowded is a server's places with a clock that the test moves.
type crowded struct {
	*places
	t   *testing.T
	now time.Time
}

func crowdOf(t *testing.T, most int) *crowded {
	c := &crowded{places: newPlaces(pipes{}, most), t: t, now: time.Unix(0, 0)}
	c.places.now = func() time.Time { return c.now }
	return c
}

// comes lets another connection in, a second after the one before.
func (c *crowded) comes() *place {
	c.t.Helper()
	c.now = c.now.Add(onItsWay)
	conn, err := c.Accept()
	if err != nil {
		c.t.Fatal(err)
	}
	return conn.(*place)
}

func (c *crowded) begins(p *place, first bool) {
	c.t.Helper()
	p.arrives()
	if _, err := p.begin(first); err != nil {
		c.t.Fatal(err)
	}
}

// TestTheLongestIdleConnectionGivesWay: to a new one, where there is no place left; never one whose request is carried
// out. What arrives on it at that moment is not carried out.
func TestTheLongestIdleConnectionGivesWay(t *testing.T) {
	c := crowdOf(t, 3)
	works, silent, answered := c.comes(), c.comes(), c.comes()
	c.begins(works, false)
	c.begins(answered, false)
	follow(answered, http.StateIdle)
	next := c.comes()
	if works.left || !silent.left || answered.left {
		t.Fatalf("left: %v, %v, %v; want the one that was silent longest", works.left, silent.left, answered.left)
	}
	silent.arrives()
	if _, err := silent.begin(true); !errors.As(err, new(*goneError)) {
		t.Errorf("a request on a connection that gave way is carried out, error %v", err)
	}
	silent.Close()
	next.arrives() // its body does not come
	if c.comes(); !answered.left || next.left {
		t.Error("the one that was answered longest ago did not give way")
	}
	if c.comes(); !next.left {
		t.Error("one that does not send its body keeps its place")
	}
	if c.open != 3 || c.busy != 1 || c.idle.Len() != 2 {
		t.Errorf("%d open, %d busy, %d idle", c.open, c.busy, c.idle.Len())
	}
}

// TestAConnectionMayHaveARequestOnItsWay: it gives way only when it has been without one for a moment; until then a new
// one takes a reserved place, and where there is none, it waits.
func TestAConnectionMayHaveARequestOnItsWay(t *testing.T) {
	c := crowdOf(t, 2)
	var all []*place
	for range 2 + ReservedConnections {
		conn, _ := c.Accept()
		all = append(all, conn.(*place))
	}
	for _, p := range all {
		if p.left {
			t.Fatal("a connection had no time for its first request")
		}
	}
	if place, later := c.admit(all[0].Conn); place != nil || later != onItsWay {
		t.Errorf("one more is let in, or waits for %v", later)
	}
	c.now = c.now.Add(onItsWay)
	if place, _ := c.admit(all[0].Conn); place == nil || !all[0].left || all[1].left {
		t.Error("the first does not give way in the end")
	}
}

// TestReservedPlaces: when requests are carried out on every connection, others are refused, except for those that
// watch the server or have to do with a lease.
func TestReservedPlaces(t *testing.T) {
	inside, finish := make(chan struct{}, 3), make(chan struct{})
	store := strange{ready: func(context.Context) error { return nil }, token: func(context.Context) error {
		inside <- struct{}{}
		<-finish
		return nil
	}}
	s := serve(t, Config{Store: holding{store}, Limits: Limits{MaxConnections: 2}})
	statuses := make(chan int, 2)
	for range 2 {
		go func() { status, _ := s.lookup(); statuses <- status }()
		<-inside
	}
	for _, path := range []string{api.PathLive, api.PathReady} {
		if status, text := get(s.url + path); status != 200 {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	for _, path := range []string{api.PathKeepAlive, api.PathUnblock} {
		if status, text := s.post(path, `{"token":"a"}`); status != 200 {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	status, text := s.post(api.PathLookup, `{"token":"a"}`)
	var p api.Problem
	if err := json.Unmarshal([]byte(text), &p); err != nil || status != 503 || p.Code != tms.ErrOverloaded ||
		p.RetryAfterMS == 0 {
		t.Errorf("one lookup more is answered %d %s", status, text)
	}
	close(finish)
	if a, b := <-statuses, <-statuses; a != 200 || b != 200 {
		t.Errorf("those that were carried out are answered %d and %d", a, b)
	}
}

// holding is a store in which every token is held, whatever else.
type holding struct{ strange }

func (h holding) KeepAlive(_ context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	return []tms.TokenResult{{Token: tms.Token{Pool: pool, Value: keys[0].Token, State: tms.Available}}}, nil
}

func (h holding) Unblock(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	return h.KeepAlive(ctx, pool, keys)
}

func (s *serving) post(path, body string) (int, string) {
	client := http.Client{Timeout: 30 * time.Second}
	response, err := client.Post(s.url+path, api.JSON, strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(text)
}

// TestIdleConnectionsLockNobodyOut: many times as many connections as there may be, which were answered, or send
// nothing, or only the beginning of a request.
func TestIdleConnectionsLockNobodyOut(t *testing.T) {
	for name, sent := range map[string]string{
		"answered":      "GET /livez HTTP/1.1\r\nHost: tms\r\n\r\n",
		"silent":        "",
		"half a header": "GET /livez HTTP/1.1\r\nHos",
		"half a body": "POST /assign-token HTTP/1.1\r\n" +
			"Host: tms\r\n" +
			"Content-Type: application/json\r\n" +
			"Content-Length: 100\r\n" +
			"\r\n" +
			"{",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, Config{Limits: Limits{MaxConnections: 4}})
			for range 26 {
				io.WriteString(s.dial(t), sent)
			}
			if c := s.dial(t); !c.live(30 * time.Second) {
				t.Error("/livez is not answered")
			}
		})
	}
}

// TestWaitingIsLimited: whoever would be one too many is told to come again; who does not wait is served, and so is who
// comes when another has gone.
func TestWaitingIsLimited(t *testing.T) {
	h := start(t, Config{Limits: Limits{MaxConnections: 4}})
	ctx, hangUp := context.WithCancel(t.Context())
	left := make(chan error, 2)
	for range 2 { // the half of the connections
		r, _ := http.NewRequestWithContext(ctx, "POST", h.url+api.PathAssign, strings.NewReader(`{"wait":"60s"}`))
		r.Header.Set("Content-Type", api.JSON)
		go func() { _, err := http.DefaultClient.Do(r); left <- err }()
	}
	waiting := func() string { return fmt.Sprint(*ok[api.Pool](h, 200, "GET", "/pools/default", "").Waiting) }
	waitFor(t, "2", waiting)
	p := h.refused(tms.ErrOverloaded, "", "POST", api.PathAssign, `{"wait":"2s"}`)
	if p.RetryAfterMS == 0 {
		t.Error("it is not told when to come again")
	}
	h.refused(tms.ErrNoTokenAvailable, "", "POST", api.PathAssign, "")
	hangUp()
	<-left
	<-left
	waitFor(t, "0", waiting)
	h.refused(tms.ErrNoTokenAvailable, "", "POST", api.PathAssign, `{"wait":"1ms"}`)
}

// TestHowManyMayWait: fewer than there are connections, whatever is asked for.
func TestHowManyMayWait(t *testing.T) {
	for connections, want := range map[int][2]int{1: {1, 1}, 2: {1, 1}, 4: {2, 3}, 10_000: {5_000, 9_000}} {
		for i, asked := range []int{0, 9_000} {
			if got := (Config{Limits: Limits{MaxConnections: connections,
				MaxWaiting: asked}}).WithDefaults().MaxWaiting; got != want[i] {
				t.Errorf("of %d connections %d may wait where %d are asked for, want %d", connections, got, asked,
					want[i])
			}
		}
	}
}
