package server

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
	"github.com/manankarani/token-manager/internal/limit"
)

// TestBodiesTakeWhatThereIs: what has arrived of a body counts, not what is announced; one address has a quarter, and
// all together no more than there is. What is given back can be taken again.
func TestBodiesTakeWhatThereIs(t *testing.T) {
	const kib = 1 << 10
	b := newBudget(1_000*kib, 100*kib)
	fill := func(from string, size int, announced int64) (*reading, error) {
		r := &reading{budget: b, from: at(from), size: announced}
		var buffer bytes.Buffer
		err := r.fill(&buffer, io.LimitReader(zeros{}, int64(size)))
		if int64(buffer.Cap()) > freeBytes+r.taken {
			t.Errorf("a buffer of %d bytes, of which %d are taken", buffer.Cap(), r.taken)
		}
		return r, err
	}
	if r, err := fill("10.0.0.1:1", 60*kib, 8<<20); err != nil || r.taken != 0 {
		t.Errorf("a small body takes %d, error %v", r.taken, err)
	}
	first, err := fill("10.0.0.1:1", 200*kib, -1)
	if err != nil || first.taken < 136*kib || first.taken > 250*kib {
		t.Fatalf("200 KiB take %d bytes, error %v", first.taken, err)
	}
	second, err := fill("10.0.0.1:2", 250*kib, 250*kib)
	if tms.CodeOf(err) != tms.ErrOverloaded {
		t.Errorf("an address takes more than a quarter: error %v", err)
	}
	second.done()
	var all []*reading
	for i := range 20 {
		r, err := fill(fmt.Sprintf("10.0.1.%d:1", i), 160*kib, 160*kib)
		if all = append(all, r); b.used > b.total {
			t.Errorf("%d of %d bytes are used", b.used, b.total)
		}
		if i == 19 && tms.CodeOf(err) != tms.ErrOverloaded {
			t.Errorf("everything is taken, and still: error %v", err)
		}
	}
	for _, r := range append(all, first) {
		r.done()
	}
	if b.used != 0 || len(b.by) != 0 {
		t.Errorf("%d bytes stay taken, by %d addresses", b.used, len(b.by))
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// at returns the address of a client that has connected from there, or from behind proxies.
func at(remote string, forwarded ...string) netip.Addr {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	s := New(Config{TrustedProxies: trusted})
	header := http.Header{"X-Forwarded-For": forwarded}
	return limit.Network(s.addressOf(&http.Request{RemoteAddr: remote, Header: header}))
}

// Only what a trusted proxy says counts, and of that the last address that is none of theirs.
func TestWhoseForwardingCounts(t *testing.T) {
	const proxy, stranger = "10.0.0.1:80", "192.0.2.1:80"
	for _, c := range []struct {
		remote    string
		forwarded []string
		want      string
	}{
		{stranger, []string{"198.51.100.7"}, "192.0.2.1"},
		{proxy, nil, "10.0.0.1"},
		{proxy, []string{""}, "10.0.0.1"},
		{proxy, []string{"198.51.100.7"}, "198.51.100.7"},
		{proxy, []string{"1.1.1.1, 198.51.100.7"}, "198.51.100.7"},
		{proxy, []string{"1.1.1.1", "198.51.100.7,10.1.2.3"}, "198.51.100.7"},
		{proxy, []string{"10.9.9.9 , 10.1.2.3"}, "10.9.9.9"},
		{proxy, []string{"198.51.100.7, unknown"}, "10.0.0.1"},
		{proxy, []string{"198.51.100.7, unknown, 10.1.2.3"}, "10.1.2.3"},
		{"[::1]:80", []string{"2001:db8:1:2:3::4"}, "2001:db8:1:2::"},
		{proxy, []string{"::ffff:198.51.100.7"}, "198.51.100.7"},
	} {
		if got := at(c.remote, c.forwarded...).String(); got != c.want {
			t.Errorf("from %s, forwarded for %q: %s, want %s", c.remote, c.forwarded, got, c.want)
		}
	}
}

func TestOneMachineIsOneAddress(t *testing.T) {
	for remote, want := range map[string]string{
		"10.0.0.1:80":            "10.0.0.1",
		"[::ffff:10.0.0.1]:80":   "10.0.0.1",
		"[2001:db8:1:2:3::4]:80": "2001:db8:1:2::",
		"pipe":                   "invalid IP",
	} {
		if got := at(remote).String(); got != want {
			t.Errorf("%s is of %s, want %s", remote, got, want)
		}
	}
}

// TestBodiesThatDoNotEndTakeBoundedMemory: clients that send the most of a large body and stop; who has a small one is
// served beside them, and so is who has a large one when they have gone.
func TestBodiesThatDoNotEndTakeBoundedMemory(t *testing.T) {
	s := serve(t, Config{Store: (&harness{t: t}).open(), Limits: Limits{MaxBodyMemory: 8 << 20, MaxBodyBytes: 2 << 20}})
	before := heap()
	var conns []conn
	part := "{" + strings.Repeat(" ", 2<<20-1000)
	for range 12 {
		c := s.dial(t)
		c.SetWriteDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprintf(c, "POST /assign-token HTTP/1.1\r\nHost: tms\r\nContent-Type: application/json\r\nContent-Length: "+
			"%d\r\n\r\n%s", 2<<20, part)
		conns = append(conns, c)
	}
	refused := 0
	for _, c := range conns[1:] { // a quarter is one of them
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		answer, _ := io.ReadAll(c)
		if bytes.Contains(answer, []byte(`"code":"overloaded"`)) {
			refused++
		}
	}
	if grown := heap() - before; grown > 8<<20 {
		t.Errorf("12 bodies of 2 MiB keep %d KiB", grown>>10)
	}
	t.Logf("%d of 12 are refused", refused)
	if status, text := s.post(api.PathGenerate, `{"count":1}`); status != 201 {
		t.Errorf("a small body is answered %d %s", status, text)
	}
	for _, c := range conns {
		c.Close()
	}
	large := `{"count":1}` + strings.Repeat(" ", 1<<20)
	waitFor(t, "201", func() string { status, _ := s.post(api.PathGenerate, large); return itoa(status) })
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestListsAreNotReadBeyondABatch: a body of two bytes an entry does not become a list of many times its size.
func TestListsAreNotReadBeyondABatch(t *testing.T) {
	h := start(t, Config{})
	body := []byte(`{"leases":[{}` + strings.Repeat(`,{}`, 500_000) + `]}`)
	var request api.KeepAliveRequest
	if err := api.Decode(body, &request); err != nil || len(request.Leases) != tms.MaxBatch+1 {
		t.Errorf("%d entries are read, error %v", len(request.Leases), err)
	}
	var p api.Problem
	if status := h.raw(api.PathKeepAlive, string(body), &p); status != 400 || p.Field != "leases" {
		t.Errorf("%d %+v", status, p)
	}
}

// TestHeavyRequestsComeInTurn: what a large body becomes takes memory, so that only some are carried out at once;
// others go on beside them.
func TestHeavyRequestsComeInTurn(t *testing.T) {
	most := cap(newHeavy())
	inside, finish := make(chan struct{}, most+1), make(chan struct{})
	s := New(Config{Store: holdingUntil{inside: inside, finish: finish}})
	send := func(body string) int {
		r := httptest.NewRequest("POST", api.PathUnblock, strings.NewReader(body))
		r.Header.Set("Content-Type", api.JSON)
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		return w.Code
	}
	large := `{"token":"large"}` + strings.Repeat(" ", freeBytes)
	done := make(chan int, most+1)
	for range most + 1 {
		go func() { done <- send(large) }()
	}
	for range most {
		<-inside
	}
	if status := send(`{"token":"small"}`); status != 200 {
		t.Errorf("a small request is answered %d", status)
	}
	if len(inside) > 0 {
		t.Error("one more is carried out")
	}
	close(finish)
	for range most + 1 {
		if status := <-done; status != 200 {
			t.Errorf("a large request is answered %d", status)
		}
	}
}

// holdingUntil is holding where a large request stays inside until it may finish.
type holdingUntil struct {
	holding
	inside, finish chan struct{}
}

func (h holdingUntil) Unblock(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	if keys[0].Token == "large" {
		h.inside <- struct{}{}
		<-h.finish
	}
	return h.holding.Unblock(ctx, pool, keys)
}
