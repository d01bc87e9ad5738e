package client_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/client"
	"github.com/manankarani/token-manager/internal/node"
	"github.com/manankarani/token-manager/internal/store/embedded"
	"github.com/manankarani/token-manager/internal/store/redis"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

const many = 10_000 // leases of one client

// BenchmarkKeepAlive10000 renews 10,000 leases with one request, from the client to the store and back. server-ms is
// the part of the server: from the first byte of the request to the last of the answer.
func BenchmarkKeepAlive10000(b *testing.B) {
	for _, c := range []struct {
		name string
		open func(*testing.B) (tms.Sweeper, error)
	}{
		{"memory", func(*testing.B) (tms.Sweeper, error) { return embedded.Open(embedded.Options{}) }},
		{"disk", func(b *testing.B) (tms.Sweeper, error) { return embedded.Open(embedded.Options{Dir: b.TempDir()}) }},
		{"redis", func(b *testing.B) (tms.Sweeper,
			error) {
			return redis.Open(redis.Options{URL: redistest.New(b).URL()})
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			store, err := c.open(b)
			if err != nil {
				b.Fatal(err)
			}
			benchKeepAlive(b, store)
		})
	}
}

func benchKeepAlive(b *testing.B, store tms.Sweeper) {
	var inServer time.Duration
	c := timed(b, store, &inServer)
	keys := take(b, c)
	inServer = 0
	for b.Loop() {
		results, err := c.KeepAlive(b.Context(), pool, keys)
		if err != nil || results[0].Err != nil || results[many-1].Err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(inServer.Microseconds())/1000/float64(b.N), "server-ms/op")
	b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N), "ms/op")
}

// timed serves the store and adds up the time of its requests, which must come one after the other.
func timed(b *testing.B, store tms.Sweeper, took *time.Duration) *client.Client {
	n := node.New(store, node.Options{})
	handler := n.Handler()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		handler.ServeHTTP(w, r)
		*took += time.Since(begin)
	}))
	b.Cleanup(func() {
		srv.Close()
		n.Close()
	})
	return dial(b, srv.URL)
}

// take fills the pool and assigns all of it.
func take(b *testing.B, c *client.Client) (keys []tms.LeaseKey) {
	if _, err := c.PutPool(b.Context(), pool, short(time.Hour)); err != nil {
		b.Fatal(err)
	}
	if _, err := c.Generate(b.Context(), pool, tms.GenerateRequest{Tokens: make([]tms.NewToken, many)}); err != nil {
		b.Fatal(err)
	}
	for range many / tms.MaxAssignCount {
		results, err := c.Assign(b.Context(), pool, []tms.AssignRequest{{Count: tms.MaxAssignCount}})
		if err != nil || results[0].Err != nil {
			b.Fatal(err, results)
		}
		for _, t := range results[0].Tokens {
			keys = append(keys, tms.LeaseKey{Token: t.Value, LeaseID: t.Lease.ID})
		}
	}
	return keys
}
