package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/client"
	"github.com/manankarani/token-manager/internal/access"
	"github.com/manankarani/token-manager/internal/server"
	"github.com/manankarani/token-manager/internal/store/embedded"
	"github.com/manankarani/token-manager/internal/store/redis"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

// guarded is a server that asks for keys.
type guarded struct {
	testing.TB
	*Node
	ring *access.Keyring
	url  string
	http *http.Client      // nil: the usual one
	keys map[string]string // by name
	now  time.Time
	all  []access.Key
	made int // pools
	log  log
}

func guard(t testing.TB) *guarded {
	t.Helper()
	return serveGuarded(t, true)
}

// serveGuarded starts a server, which asks for keys or not.
func serveGuarded(t testing.TB, asks bool) *guarded {
	t.Helper()
	opened, err := embedded.Open(embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return serveStore(t, opened, asks)
}

// onEachStore runs a test on a server of each kind of store.
func onEachStore(t *testing.T, test func(t *testing.T, g *guarded)) {
	t.Run("embedded", func(t *testing.T) { test(t, guard(t)) })
	t.Run("redis", func(t *testing.T) {
		opened, err := redis.Open(redis.Options{URL: redistest.New(t).URL()})
		if err != nil {
			t.Fatal(err)
		}
		test(t, serveStore(t, opened, true))
	})
}

func serveStore(t testing.TB, opened tms.Sweeper, asks bool) *guarded {
	t.Helper()
	return serveOptions(t, opened, asks, Options{})
}

func serveOptions(t testing.TB, opened tms.Sweeper, asks bool, o Options) *guarded {
	t.Helper()
	g := &guarded{TB: t, keys: map[string]string{}, now: time.Now()}
	g.ring = o.Keyring
	if g.ring == nil {
		g.ring = access.NewKeyring(func() time.Time { return g.now })
	}
	o.Registry, o.Logger = prometheus.NewRegistry(), slog.New(slog.NewTextHandler(&g.log, nil))
	o.HTTP.Backup = func(context.Context) (server.Backup, error) { return emptyBackup{}, nil }
	if asks {
		o.Keyring = g.ring
	}
	g.Node = New(opened, o)
	if _, err := g.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	following, stop := context.WithCancel(context.Background())
	var follows sync.WaitGroup
	follows.Go(func() { g.ring.Follow(following, o.Logger) })
	srv := httptest.NewServer(g.Handler())
	g.url = srv.URL
	t.Cleanup(func() {
		srv.Close()
		stop()
		follows.Wait()
		g.Node.Close()
	})
	return g
}

// log is what a server has logged.
type log struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *log) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

type emptyBackup struct{ io.Closer }

func (emptyBackup) WriteTo(io.Writer) (int64, error) { return 0, nil }

func (emptyBackup) Close() error { return nil }

// admit lets a new key in, which may so much.
func (g *guarded) admit(name string, expires time.Time, may ...string) string {
	g.Helper()
	text := access.NewKey()
	key := access.Key{Name: name, Hash: access.HashOf(text), Expires: expires}
	for _, one := range may {
		grant, err := tms.ParseGrant(one)
		if err != nil {
			g.Fatal(err)
		}
		key.May = append(key.May, grant)
	}
	g.all = append(g.all, key)
	g.ring.Set(g.all)
	g.keys[name] = text
	return text
}

// revoke takes a key out.
func (g *guarded) revoke(name string) {
	g.all = slices.DeleteFunc(g.all, func(k access.Key) bool { return k.Name == name })
	g.ring.Set(g.all)
}

// as returns a client with the key of that name.
func (g *guarded) as(name string) *client.Client {
	g.Helper()
	c, err := client.New(g.url, client.WithKey(g.keys[name]), client.WithRetryFor(0))
	if err != nil {
		g.Fatal(err)
	}
	g.Cleanup(func() { c.Close() })
	return c
}

// stock makes a pool with a token that is free, one that is put aside, and one that somebody else holds, and returns
// its name and that lease's ID.
func (g *guarded) stock() (pool, leaseID string) {
	g.Helper()
	ctx := g.Context()
	g.made++
	pool = fmt.Sprintf("p-%d", g.made)
	_, err := g.Store().PutPool(ctx, pool, tms.PolicyChange{MaxLeasesPerClient: new(3)})
	g.must(err)
	_, err = g.Store().Generate(ctx, pool, tms.GenerateRequest{Tokens: []tms.NewToken{{Value: "held"}}})
	g.must(err)
	results, err := g.Store().Assign(ctx, pool, []tms.AssignRequest{{ClientID: tms.Owned("other", "c")}})
	g.must(errors.Join(err, results[0].Err))
	more := []tms.NewToken{{Value: "free"}, {Value: "aside"}}
	_, err = g.Store().Generate(ctx, pool, tms.GenerateRequest{Tokens: more})
	g.must(err)
	_, err = g.Store().Unblock(ctx, pool, []tms.LeaseKey{{Token: "aside", Quarantine: true}})
	g.must(err)
	return pool, results[0].Tokens[0].Lease.ID
}

func (g *guarded) must(err error) {
	g.Helper()
	if err != nil {
		g.Fatal(err)
	}
}
