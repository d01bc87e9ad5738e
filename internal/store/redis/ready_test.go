package redis_test

import (
	"strings"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/redis"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

func TestReady(t *testing.T) {
	must(t, open(t, redistest.New(t), redis.Options{}).Ready(t.Context()))
}

// saysWhy ends the test unless the store is not ready, for a reason with these words in it.
func saysWhy(t *testing.T, s *redis.Store, words ...string) {
	t.Helper()
	err := s.Ready(t.Context())
	if err == nil {
		t.Fatal("the store says that it is ready")
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the store says %q and not %q", err, word)
		}
	}
}

func TestNotReadyWhereKeysAreEvicted(t *testing.T) {
	server := redistest.New(t, "--maxmemory-policy", "allkeys-lru")
	s := open(t, server, redis.Options{})
	saysWhy(t, s, "allkeys-lru", "noeviction")
	ask(t, raw(t, server), "CONFIG", "SET", "maxmemory-policy", "noeviction")
	must(t, s.Ready(t.Context()))
}

func TestNotReadyWithAWrongPassword(t *testing.T) {
	server := redistest.New(t, "--requirepass", "right")
	saysWhy(t, open(t, server, redis.Options{URL: "redis://:wrong@" + server.Addr}), "password")
	saysWhy(t, open(t, server, redis.Options{URL: "redis://" + server.Addr}), "password")
	must(t, open(t, server, redis.Options{URL: "redis://:right@" + server.Addr}).Ready(t.Context()))
}

func TestAWrongPasswordRefuses(t *testing.T) {
	server := redistest.New(t, "--requirepass", "right")
	s := open(t, server, redis.Options{URL: "redis://:wrong@" + server.Addr})
	_, err := s.Token(t.Context(), "default", tms.LeaseKey{Token: "a"})
	refused(t, err, tms.ErrStoreUnavailable)
}

func TestNotReadyWhileUnreachable(t *testing.T) {
	server := redistest.New(t)
	server.Kill()
	s := open(t, server, redis.Options{})
	saysWhy(t, s, "cannot be reached", "refused")
	_, err := s.Token(t.Context(), "default", tms.LeaseKey{Token: "a"})
	refused(t, err, tms.ErrStoreUnavailable)
	server.Start()
	eventually(t, "the store is ready", func() bool { return s.Ready(t.Context()) == nil })
}

func TestNotReadyOnAReplica(t *testing.T) {
	server := redistest.New(t)
	s := open(t, server, redis.Options{})
	put(t, s, "p", tms.PolicyChange{})
	ask(t, raw(t, server), "REPLICAOF", "127.0.0.1", "1")
	saysWhy(t, s, "replica")
	_, err := s.Generate(t.Context(), "p", tms.GenerateRequest{Tokens: make([]tms.NewToken, 1)})
	refused(t, err, tms.ErrStoreUnavailable)
}

func TestNotReadyWithoutTheRightToLoadTheLibrary(t *testing.T) {
	server := redistest.New(t)
	ask(t, raw(t, server), "ACL", "SETUSER", "weak", "on", ">secret", "~*", "+@all", "-function|load")
	saysWhy(t, open(t, server, redis.Options{URL: "redis://weak:secret@" + server.Addr}), "permission", "function")
}

func TestWhichServersAreFit(t *testing.T) {
	const good = "redis_version:7.0.15\r\nmaxmemory_policy:noeviction\r\nrole:master\r\nloading:0\r\n"
	for _, c := range []struct{ name, info, why string }{
		{"Redis 7.0", good, ""},
		{"Redis 8", strings.Replace(good, "7.0.15", "8.2.1", 1), ""},
		{"Redis 10", strings.Replace(good, "7.0.15", "10.0", 1), ""},
		{"Redis 6.2", strings.Replace(good, "7.0.15", "6.2.14", 1), `"6.2.14"`},
		{"no Redis", "maxmemory_policy:noeviction\r\n", "version"},
		{"Valkey", "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1\r\n" +
			"maxmemory_policy:noeviction\r\n", ""},
		{"Valkey of a later number", "server_name:valkey\r\nmaxmemory_policy:noeviction\r\n", ""},
		{"evicting", strings.Replace(good, "noeviction", "volatile-ttl", 1), "volatile-ttl"},
		{"silent about eviction", "redis_version:7.0.15\r\n", "maxmemory-policy"},
		{"loading", strings.Replace(good, "loading:0", "loading:1", 1), "loading"},
		{"replica", strings.Replace(good, "role:master", "role:slave", 1), "replica"},
	} {
		err := redis.CheckInfo(c.info, false)
		if c.why == "" && err != nil || c.why != "" && (err == nil || !strings.Contains(err.Error(), c.why)) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.why)
		}
	}
	if err := redis.CheckInfo(strings.Replace(good, "role:master", "role:slave", 1), true); err != nil {
		t.Errorf("a replica in a cluster: %v", err)
	}
}

func TestAURLThatCannotBeReadIsNotShown(t *testing.T) {
	for _, url := range []string{"redis://u:se/cret@host:1", "redis://:secret@host:x:y", "redis://:secret%zz@host",
		"http://:secret@host",
		"redis://:secret@host/x", "redis://:secret@host?dial_timeout=x"} {
		s, err := redis.Open(redis.Options{URL: url})
		if err == nil {
			s.Close()
			t.Errorf("%s was taken", url)
		} else if strings.Contains(err.Error(), "cret") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

func TestOpenDoesNotWait(t *testing.T) {
	server := redistest.New(t)
	server.Stop()
	defer server.Continue()
	s := open(t, server, redis.Options{Timeout: 200 * time.Millisecond})
	saysWhy(t, s, "in time")
}
