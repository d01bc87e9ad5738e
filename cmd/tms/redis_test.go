package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

func TestServersShareOneRedis(t *testing.T) {
	store := redistest.New(t).URL()
	a, b := startServe(t, "--store", store), startServe(t, "--store", store)
	token := a.must(201, http.MethodPost, "/generate-token", nil).Token
	lease := b.must(200, http.MethodPost, "/assign-token", nil)
	if lease.Token != token {
		t.Fatalf("assigned %s, want %s", lease.Token, token)
	}
	a.must(404, http.MethodPost, "/assign-token", nil)
	a.must(200, http.MethodPost, "/unblock-token", object{"token": token, "lease_id": lease.LeaseID})
	if err := b.stop(); err != nil {
		t.Errorf("after SIGTERM: %v\n%s", err, b.stderr)
	}
	a.must(200, http.MethodPost, "/assign-token", nil)
}

// A server that starts before its Redis lives, is not ready, and sets the pools of its file when Redis has come.
func TestServeWaitsForRedisAndKeepsItsPassword(t *testing.T) {
	redis := redistest.New(t, "--requirepass", "geheim")
	redis.Kill()
	file := filepath.Join(t.TempDir(), "tms.yaml")
	if err := os.WriteFile(file, []byte("pools: {phones: {max_tokens: 1}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startServe(t, "--store", "redis://:geheim@"+redis.Addr, "--config", file, "--log-level", "debug")
	p.must(200, http.MethodGet, "/livez", nil)
	p.must(503, http.MethodGet, "/readyz", nil)
	if out := runTMS(t, false, "healthcheck", "--listen", strings.TrimPrefix(p.url, "http://")); !strings.Contains(out,
		"not ready: 503") {
		t.Errorf("the health check said %q", out)
	}

	redis.Start()
	eventually(t, "the server can be used again", func() bool {
		r, err := p.call(http.MethodPost, "/generate-token", object{"pool": "phones"})
		return err == nil && r.Status == 201
	})
	p.must(200, http.MethodGet, "/readyz", nil)
	if err := p.stop(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	if said := p.stdout.String() + p.stderr.String(); strings.Contains(said, "geheim") {
		t.Errorf("the output holds the password:\n%s", said)
	}
}

// A server whose Redis does not answer while it starts, and then refuses the pools of the file, ends as one does whose
// Redis refuses them at once. Until then it is not ready.
func TestServeEndsWhenRedisRefusesThePoolsLate(t *testing.T) {
	redis := redistest.New(t)
	p := startServe(t, "--store", redis.URL())
	p.must(201, http.MethodPut, "/pools/kept", nil)
	p.must(201, http.MethodPost, "/generate-token", object{"pool": "kept"})
	p.kill()
	file := filepath.Join(t.TempDir(), "tms.yaml")
	if err := os.WriteFile(file, []byte("pools: {kept: {labels: [city]}, other: {}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	serve := []string{"--store", redis.URL(), "--config", file, "--store-timeout", "200ms"}
	if out := failServe(t, serve...); !strings.Contains(out, "pools.kept: pool_in_use") {
		t.Errorf("with Redis up it said %q", out)
	}
	redis.Stop()
	p = startServe(t, serve...)
	p.must(503, http.MethodGet, "/readyz", nil)
	redis.Continue()
	if err := p.wait(); err == nil || !strings.Contains(p.stderr.String(), "tms: pools.kept: pool_in_use") {
		t.Errorf("the server ended with %v and said: %s", err, p.stderr)
	}
}

// command sends a command to Redis that it must take.
func command(t *testing.T, address, text string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	reply := make([]byte, 100)
	fmt.Fprint(conn, text+"\r\n")
	if _, err := conn.Read(reply); err != nil || reply[0] != '+' {
		t.Fatalf("%s: %s, error %v", text, reply, err)
	}
}

// A server that starts on a Redis that is not fit says so at once, and later what becomes of that.
func TestServeSaysWhyItIsNotReady(t *testing.T) {
	redis := redistest.New(t, "--maxmemory-policy", "allkeys-lru")
	p := startServe(t, "--store", redis.URL())
	eventually(t, "the greeting says why the server is not ready", func() bool {
		return strings.Contains(p.stdout.String(),
			"\nnot ready: redis at "+redis.Addr+": its maxmemory-policy is \"allkeys-lru\"") &&
			strings.Contains(p.stderr.String(), `msg="not ready" reason="redis at `)
	})
	command(t, redis.Addr, "CONFIG SET maxmemory-policy noeviction")
	eventually(t, "the server is ready", func() bool { return strings.Contains(p.stderr.String(), "msg=ready") })
	p.must(200, http.MethodGet, "/readyz", nil)
	command(t, redis.Addr, "CONFIG SET maxmemory-policy allkeys-random")
	eventually(t, "the log names the eviction policy", func() bool {
		return strings.Contains(p.stderr.String(),
			"allkeys-random")
	})
}

func TestServeSaysThatRedisDoesNotTakeThePassword(t *testing.T) {
	redis := redistest.New(t, "--requirepass", "geheim")
	p := startServe(t, "--store", "redis://:falsch@"+redis.Addr)
	eventually(t, "the greeting names the password", func() bool {
		return strings.Contains(p.stdout.String(), "\nnot ready: redis does not take the user or password") &&
			strings.Contains(p.stderr.String(), `msg="not ready" reason="redis does not take the user or password`)
	})
	if said := p.stdout.String() + p.stderr.String(); strings.Contains(said, "falsch") {
		t.Errorf("the output holds the password:\n%s", said)
	}
}
