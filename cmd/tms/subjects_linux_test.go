package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/manankarani/token-manager/api"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

// pinned returns a command that runs on one core of several: the first for servers, the second for all else.
func pinned(core, name string, args ...string) *exec.Cmd {
	if runtime.NumCPU() == 1 {
		return exec.Command(name, args...)
	}
	return exec.Command("taskset", append([]string{"-c", core, name}, args...)...)
}

func floorSubjects(t *testing.T, dir string) (all []*subject) {
	add := func(name string, redis *redistest.Server, args ...string) {
		all = append(all, &subject{name: name, process: startProcess(t, pinned("0", "empty", args...)), redis: redis})
	}
	if wanted("empty") {
		add("empty", nil)
	}
	if wanted("empty and a shared PING") {
		redis := aRedis(t)
		add("empty and a shared PING", redis, "ping", redis.Addr)
	}
	if wanted("empty and a shared fdatasync") {
		add("empty and a shared fdatasync", nil, "sync", filepath.Join(dir, "synced"))
	}
	return all
}

func init() { floors["sync"] = syncs }

// syncs returns what puts a few bytes on the disk.
func syncs(path string) func() {
	runtime.GOMAXPROCS(max(2, runtime.GOMAXPROCS(0))) // as the embedded store sees to
	file, err := os.Create(path)
	if err != nil {
		panic(err)
	}
	return func() {
		file.Write(make([]byte, 200))
		if err := unix.Fdatasync(int(file.Fd())); err != nil {
			panic(err)
		}
	}
}

// aRedis starts one beside the load.
func aRedis(t *testing.T) *redistest.Server {
	redis := redistest.New(t)
	var core unix.CPUSet
	core.Set(1)
	if runtime.NumCPU() > 1 {
		if err := unix.SchedSetaffinity(redis.Pid(), &core); err != nil {
			t.Fatal(err)
		}
	}
	return redis
}

func redisSubject(t *testing.T, which, tms string) *subject {
	if !wanted("redis, " + which) {
		return nil
	}
	redis := aRedis(t)
	s := serverSubject(t, which, tms, redis.URL())
	s.redis = redis
	return s
}

// serverSubject starts a server with 100,000 tokens.
func serverSubject(t *testing.T, which, tms, store string) *subject {
	kind, _, _ := strings.Cut(store, ":")
	if !wanted(kind + ", " + which) {
		return nil
	}
	cmd := pinned("0", tms, "serve", "--listen", "127.0.0.1:0", "--store", store)
	s := &subject{name: kind + ", " + which, process: startProcess(t, cmd)}
	s.must(200, http.MethodPut, "/pools/default", object{"token_ttl": "0s"})
	s.must(201, http.MethodPut, "/pools/batch", object{"token_ttl": "0s", "lease_ttl": "1h"})
	for range 10 {
		s.must(201, http.MethodPost, "/generate-token", object{"count": 10_000})
	}
	s.must(201, http.MethodPost, "/generate-token", object{"pool": "batch", "count": 2_000})
	s.leases = s.thousand()
	return s
}

// thousand takes a thousand leases, and returns the request that keeps them alive.
func (s *subject) thousand() string {
	var given struct {
		Leases []struct {
			Token   string `json:"token"`
			LeaseID string `json:"lease_id"`
		} `json:"leases"`
	}
	text := s.post(api.PathAssign, `{"pool":"batch","count":1000,"client_id":"bench"}`)
	if err := json.Unmarshal(text, &given); err != nil || len(given.Leases) != 1_000 {
		s.t.Fatalf("%v: %.200s", err, text)
	}
	keys, _ := json.Marshal(given.Leases) // strings cannot fail
	return `{"pool":"batch","leases":` + string(keys) + `}`
}

// post returns the answer to a request that has to be answered with 200.
func (s *subject) post(path, body string) []byte {
	s.t.Helper()
	response, err := s.client.Post(s.url+path, api.JSON, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %s, %v: %.200s", path, response.Status, err, text)
	}
	return text
}
