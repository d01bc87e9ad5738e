package client_test

import (
	"context"
	"flag"
	"net/http/httptest"
	"testing"

	"go.uber.org/goleak"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/client"
	"github.com/manankarani/token-manager/internal/node"
	"github.com/manankarani/token-manager/internal/store/embedded"
	"github.com/manankarani/token-manager/internal/store/redis"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
	"github.com/manankarani/token-manager/internal/store/storetest"
)

// The tests that are parallel wait for time to pass, so that many can run at once. rueidis may leave a goroutine that
// sleeps for up to a second before it looks at a cluster again.
func TestMain(m *testing.M) {
	flag.Set("test.parallel", "20")
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"))
}

// swept is a client of a server whose store is swept at its own door, because clients cannot sweep.
type swept struct {
	*client.Client
	store tms.Sweeper
}

// InParts says that a generate of more than one request takes goes in parts.
func (swept) InParts() {}

func (s swept) PoolNames(ctx context.Context, after string, limit int) ([]string, error) {
	return s.store.PoolNames(ctx, after, limit)
}

func (s swept) Expire(ctx context.Context, pool string, limit int) (tms.Expired, error) {
	return s.store.Expire(ctx, pool, limit)
}

// served serves the store and returns a client of the server.
func served(t testing.TB, store tms.Sweeper) swept {
	t.Helper()
	n := node.New(store, node.Options{})
	srv := httptest.NewServer(n.Handler())
	c := dial(t, srv.URL)
	t.Cleanup(func() {
		c.Close()
		srv.Close()
		n.Close()
	})
	return swept{c, store}
}

func dial(t testing.TB, url string, opts ...client.Option) *client.Client {
	t.Helper()
	c, err := client.New(url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestTheContractThroughHTTPToTheEmbeddedStore(t *testing.T) {
	storetest.Run(t, func(t testing.TB, clock *storetest.Clock) []tms.Sweeper {
		store, err := embedded.Open(embedded.Options{Now: clock.Now})
		if err != nil {
			t.Fatal(err)
		}
		return []tms.Sweeper{served(t, store)}
	})
}

func TestTheContractThroughHTTPToRedis(t *testing.T) {
	db := redistest.New(t)
	storetest.Run(t, func(t testing.TB, clock *storetest.Clock) []tms.Sweeper {
		store, err := redis.Open(redis.Options{URL: db.URL(), Now: clock.Now})
		if err != nil {
			t.Fatal(err)
		}
		return []tms.Sweeper{served(t, store)}
	})
}

func TestWaitingThroughHTTPToTheEmbeddedStore(t *testing.T) {
	storetest.RunWaiting(t, func(t testing.TB) []tms.Sweeper {
		store, err := embedded.Open(embedded.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return []tms.Sweeper{served(t, store)}
	})
}

// Two servers share the Redis, and the clients of both stand in one queue.
func TestWaitingThroughHTTPToRedis(t *testing.T) {
	db := redistest.New(t)
	storetest.RunWaiting(t, func(t testing.TB) (stores []tms.Sweeper) {
		for range 2 {
			store, err := redis.Open(redis.Options{URL: db.URL()})
			if err != nil {
				t.Fatal(err)
			}
			stores = append(stores, served(t, store))
		}
		return stores
	})
}
