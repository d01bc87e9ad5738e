package main

import (
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
	if out := runTMS(t, false, "healthcheck", "--listen", strings.TrimPrefix(p.url, "http://")); !strings.Contains(out, "not ready: 503") {
		t.Errorf("the health check said %q", out)
	}

	redis.Start()
	eventually(t, func() bool {
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
