package limit_test

import (
	"testing"
	"time"

	"github.com/manankarani/token-manager/internal/limit"
	"github.com/manankarani/token-manager/internal/limit/limittest"
	"github.com/manankarani/token-manager/internal/store/redis"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

func TestLocal(t *testing.T) {
	limittest.Rules(t, func(testing.TB) []limit.Limiter { return []limit.Limiter{limit.NewLocal(nil)} })
}

// Three servers share the buckets of one Redis.
func TestShared(t *testing.T) {
	limittest.Rules(t, func(t testing.TB) []limit.Limiter { return views(t, redistest.New(t), 3) })
}

// The buckets lie on the nodes of a Cluster, whichever node a server has found it by; and so does the secret of the
// installation.
func TestSharedOnACluster(t *testing.T) {
	nodes := redistest.NewCluster(t, 3)
	var all []limit.Limiter
	secrets := map[[32]byte]bool{}
	for _, node := range nodes {
		store, err := redis.Open(redis.Options{URL: "redis+cluster://" + node.Addr})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { store.Close() })
		secret, err := store.InstallationKey(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		secrets[secret], all = true, append(all, limit.NewShared(store))
	}
	if len(secrets) != 1 {
		t.Errorf("there are %d secrets", len(secrets))
	}
	limittest.Rules(t, func(testing.TB) []limit.Limiter { return all })
}

func views(t testing.TB, server *redistest.Server, servers int) (all []limit.Limiter) {
	t.Helper()
	for range servers {
		store, err := redis.Open(redis.Options{URL: server.URL()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { store.Close() })
		all = append(all, limit.NewShared(store))
	}
	return all
}

func TestRatesAreReadAsTheyAreWritten(t *testing.T) {
	bursts := map[string]int{"200/s": 400, "600/m": 20, "10/h": 1, "1/s": 2, "1000000/s": 1_000_000, "off": 0}
	for text, burst := range bursts {
		rate, err := limit.ParseRate(text)
		if err != nil || rate.String() != text || rate.Burst != burst || rate.IsZero() != (text == "off") {
			t.Errorf("%q is read as %v with a burst of %d, error %v", text, rate, rate.Burst, err)
		}
	}
	wrong := []string{"", "200", "/s", "0/s", "-1/s", "1.5/s", "200/d", "1000001/s", "200/s ", "OFF", "200 /s"}
	for _, bad := range wrong {
		if rate, err := limit.ParseRate(bad); err == nil {
			t.Errorf("%q is taken for %v", bad, rate)
		}
	}
}

// A bucket that is full takes no space, however many there were.
func TestBucketsAreForgotten(t *testing.T) {
	now := time.Duration(0)
	l := limit.NewLocal(func() time.Duration { return now })
	rate := limit.Rate{Units: 1, Per: time.Second, Burst: 1}
	for range 20 {
		for i := range 10_000 {
			l.Take(t.Context(), string(rune(i)), rate, 1)
		}
		now += 2 * time.Second
	}
	if n := l.Len(); n > 20_000 {
		t.Errorf("%d buckets are kept", n)
	}
}
