package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/manankarani/token-manager/internal/access"
	"github.com/manankarani/token-manager/internal/loopback"
)

var attackLasts = flag.Duration("attacks", 0,
	"how long each attack lasts, twice, and as long without it; 0: a moment each")

// TestAttacks works with a server that is attacked, as one who keeps to the rules: none of its requests may fail. With
// -attacks 10s it measures how long they take, without the attack and under it in turn, and prints the table of
// docs/security.md. The attacker is on the same machine, and takes a part of its time.
func TestAttacks(t *testing.T) {
	for _, a := range attacks {
		t.Run(strings.ReplaceAll(a.name, " ", "_"), func(t *testing.T) {
			p := startAttacked(t, a.secure)
			moments := []time.Duration{300 * time.Millisecond}
			if *attackLasts > 0 {
				moments = []time.Duration{*attackLasts, *attackLasts}
			}
			var idle, attacked timings
			for _, lasts := range moments {
				p.work(lasts, &idle)
				p.under(a, func() { p.work(lasts, &attacked) })
			}
			if attacked.failed > 0 || idle.failed > 0 || len(attacked.took) == 0 {
				t.Errorf("of %d requests %d failed, and of %d without the attack %d: %v", len(attacked.took),
					attacked.failed, len(idle.took), idle.failed, attacked.last)
			}
			fmt.Printf("| %s | %.1f ms | %.1f ms | %.2f | %d → %d MiB |\n", a.name, idle.p99(), attacked.p99(),
				attacked.p99()/idle.p99(), p.memoryIdle, attacked.memory)
		})
	}
}

// attackedServer is a server with a key that keeps to the rules, and one that does not.
type attackedServer struct {
	target
	*process
	good       string
	memoryIdle int
}

func startAttacked(t *testing.T, secure bool) *attackedServer {
	t.Helper()
	s := &attackedServer{target: target{noisy: access.NewKey()}, good: access.NewKey()}
	text := fmt.Sprintf("auth: keys\nkeys:\n  good: {hash: %q, may: [all], rate_limit: off}\n"+
		"  noisy: {hash: %q, may: [all]}\n", access.HashOf(s.good), access.HashOf(s.noisy))
	dir := t.TempDir()
	file := filepath.Join(dir, "tms.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"--config", file, "--store", "embedded:" + filepath.Join(dir, "data"), "--sync", "100ms"}
	if secure {
		cert, key := loopback.NewAuthority(t).Issue(dir, 2)
		args = append(args, "--tls-cert", cert, "--tls-key", key)
	}
	s.process = startServe(t, args...)
	s.target = newTarget(s.process.url, s.noisy, share())
	s.memoryIdle = s.memory()
	if status := s.ask(s.good, http.MethodPost, "/generate-token", `{"count":200}`); status != 201 {
		t.Fatalf("generate: %d", status)
	}
	return s
}

// target is a server as an attacker knows it.
type target struct {
	url, address string
	noisy        string // a key
	share        int    // one connection of so many is opened
	client       *http.Client
}

func newTarget(url, noisy string, share int) target {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	_, address, _ := strings.Cut(url, "://")
	return target{url, address, noisy, share, client}
}

// ask sends a request over connections that are kept, and returns the status; 0: there was no answer.
func (s *target) ask(key, method, path, body string) int {
	r, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		return 0
	}
	r.Header.Set("Authorization", "Bearer "+key)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	response, err := s.client.Do(r)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

// timings are how long requests took, and how much memory the server had at most.
type timings struct {
	mu     sync.Mutex
	took   []time.Duration
	failed int
	last   string
	memory int // MiB
}

func (m *timings) add(took time.Duration, status int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.took = append(m.took, took)
	if status != http.StatusOK {
		m.failed++
		m.last = fmt.Sprint("status ", status)
	}
}

// p99 returns it in milliseconds.
func (m *timings) p99() float64 {
	slices.Sort(m.took)
	return float64(m.took[len(m.took)*99/100].Microseconds()) / 1000
}

// work sends a request every five milliseconds, whether or not those before it were answered: looks at a pool, assigns
// and ends a lease in turn.
func (s *attackedServer) work(lasts time.Duration, m *timings) {
	var asking sync.WaitGroup
	for end, i := time.Now().Add(lasts), 0; time.Now().Before(end); i++ {
		asking.Go(func() {
			start := time.Now()
			status := s.step(i % 3)
			m.add(time.Since(start), status)
		})
		if i%20 == 0 {
			m.memory = max(m.memory, s.memory())
		}
		time.Sleep(5 * time.Millisecond)
	}
	asking.Wait()
}

func (s *attackedServer) step(which int) int {
	switch which {
	case 0:
		return s.ask(s.good, http.MethodGet, "/pools/default", "")
	case 1:
		return s.ask(s.good, http.MethodPost, "/assign-token", `{"ttl":"1s","client_id":"good"}`)
	}
	return s.ask(s.good, http.MethodPost, "/unblock-token", `{"request_id":"none"}`)
}

// memory returns what of the server is in memory, in MiB; 0 where the system does not tell.
func (s *attackedServer) memory() int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, _ := strconv.Atoi(fields[0])
	return kib >> 10
}

// under runs f while the attack goes on, from a process of its own, which gives way to the others on this machine: an
// attacker has one of its own.
func (s *attackedServer) under(a attack, f func()) {
	s.t.Helper()
	cmd := exec.Command("nice", "-n", "19", "attacker", a.name, s.target.url, s.noisy, strconv.Itoa(s.share))
	cmd.Stderr = s.t.Output()
	if _, err := cmd.StdinPipe(); err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	if *attackLasts > 0 {
		time.Sleep(2 * time.Second) // until it is in full swing
	}
	f()
	cmd.Process.Kill()
	cmd.Wait()
}

// share is 10 in an attack for a moment: under the race detector a process can have 8,000 goroutines.
func share() int {
	if *attackLasts > 0 {
		return 1
	}
	return 10
}

// attackerMain attacks until its standard input ends, as it does with whoever has started it: ATTACK URL KEY SHARE.
func attackerMain() {
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for _, a := range attacks {
		if a.name == os.Args[1] {
			share, _ := strconv.Atoi(os.Args[4])
			s := newTarget(os.Args[2], os.Args[3], share)
			a.run(context.Background(), &s)
		}
	}
}
