package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/manankarani/token-manager/api"
)

// startEmpty starts a process that decodes requests and encodes answers of the same shape, and does nothing else.
func startEmpty(b *testing.B) *process { return startProcess(b, exec.Command("empty")) }

// serveEmpty is the process that startEmpty starts. Its arguments may name a floor: "ping" and the address of a Redis
// that is asked before an answer, or "sync" and a file that is on the disk before it. Requests that come while one is
// on its way share the next.
func serveEmpty() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Printf("tms empty serves on http://%s\n", listener.Addr())
	before := func() {}
	if len(os.Args) == 3 {
		before = (&shared{act: floors[os.Args[1]](os.Args[2])}).do
	}
	answer := func(w http.ResponseWriter, r *http.Request) { answerEmpty(w, r, before) }
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+api.PathAssign, answer)
	mux.HandleFunc("POST "+api.PathKeepAlive, answer)
	mux.HandleFunc("POST "+api.PathUnblock, answer)
	mux.HandleFunc("GET /pools/default", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("{}")) })
	panic(http.Serve(listener, mux))
}

// floors are what an answer may rest on, by name: each returns what is to be done before it.
var floors = map[string]func(at string) func(){"ping": pings}

// shared is an act that is carried out once for all who come while it is carried out for others.
type shared struct {
	act    func()
	mu     sync.Mutex
	acting bool
	next   chan struct{} // closed when the act is done for those that gather; nil: nobody does
}

func (s *shared) do() {
	s.mu.Lock()
	if s.next == nil {
		s.next = make(chan struct{})
	}
	done := s.next
	if !s.acting {
		s.acting = true
		go s.run()
	}
	s.mu.Unlock()
	<-done
}

// run acts for one group after the other, until nobody gathers.
func (s *shared) run() {
	for {
		s.mu.Lock()
		done := s.next
		s.next, s.acting = nil, done != nil
		s.mu.Unlock()
		if done == nil {
			return
		}
		s.act()
		close(done)
	}
}

func pings(address string) func() {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		panic(err)
	}
	in := bufio.NewReader(conn)
	return func() {
		conn.Write([]byte("PING\r\n"))
		if line, err := in.ReadString('\n'); line != "+PONG\r\n" {
			panic(err)
		}
	}
}

func answerEmpty(w http.ResponseWriter, r *http.Request, before func()) {
	var request struct {
		Pool     string `json:"pool"`
		Token    string `json:"token"`
		LeaseID  string `json:"lease_id"`
		ClientID string `json:"client_id"`
		TTL      string `json:"ttl"`
		Count    int    `json:"count"`
	}
	if json.NewDecoder(r.Body).Decode(&request) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	before()
	w.Header().Set("Content-Type", api.JSON)
	if r.URL.Path == api.PathUnblock {
		json.NewEncoder(w).Encode(emptyToken{"default", request.Token, "available"})
		return
	}
	json.NewEncoder(w).Encode(emptyLease{
		Pool: "default", Token: "4XBWieO4Hyd8GL4UOf5NyT", State: "assigned", LeaseID: "4XBWieO4Hyd8GL4UOf5NyT",
		Fence:    1 << 33,
		ClientID: "bench", AssignedAt: "2030-01-02T12:00:00.000Z", LeaseExpiresAt: "2030-01-02T12:01:00.000Z",
		TTLMS: 60_000, RenewAfterMS: 20_000, ExpiresAt: "2030-01-02T12:05:00.000Z",
	})
}

type emptyToken struct {
	Pool  string `json:"pool"`
	Token string `json:"token"`
	State string `json:"state"`
}

type emptyLease struct {
	Pool           string `json:"pool"`
	Token          string `json:"token"`
	State          string `json:"state"`
	LeaseID        string `json:"lease_id"`
	Fence          int64  `json:"fence"`
	ClientID       string `json:"client_id"`
	AssignedAt     string `json:"assigned_at"`
	LeaseExpiresAt string `json:"lease_expires_at"`
	TTLMS          int64  `json:"ttl_ms"`
	RenewAfterMS   int64  `json:"renew_after_ms"`
	ExpiresAt      string `json:"expires_at"`
}
