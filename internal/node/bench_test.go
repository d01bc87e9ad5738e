package node

import (
	"errors"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/limit"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

// What it costs to be asked for a key: keep-alives over HTTP on a store in memory, with and without, in turn.
func BenchmarkKeys(b *testing.B) {
	for _, name := range []string{"off", "keys", "off", "keys"} {
		b.Run(name, func(b *testing.B) {
			g := serveGuarded(b, name == "keys")
			g.admit("boss", time.Time{}, "watch@x", "fill@y-*", "hold@ci-*", "hold")
			b.SetParallelism(32)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) { g.keepAlive(b, pb) })
		})
	}
}

func (g *guarded) keepAlive(b *testing.B, pb *testing.PB) {
	c, value := g.as("boss"), tms.NewValue()
	mine := tms.GenerateRequest{Tokens: []tms.NewToken{{Value: value}}}
	_, err := g.Store().Generate(b.Context(), tms.DefaultPool, mine)
	g.must(err)
	results, err := c.Assign(b.Context(), tms.DefaultPool, []tms.AssignRequest{{Prefer: value}})
	g.must(errors.Join(err, results[0].Err))
	token := results[0].Tokens[0]
	keys := []tms.LeaseKey{{Token: token.Value, LeaseID: token.Lease.ID}}
	for pb.Next() {
		if _, err := c.KeepAlive(b.Context(), tms.DefaultPool, keys); err != nil {
			b.Error(err)
		}
	}
}

// What a rate limit costs that lets all pass: lookups of a pool over HTTP on Redis, with and without, in turn.
func BenchmarkLimit(b *testing.B) {
	server := redistest.New(b)
	for _, name := range []string{"off", "limit", "off", "limit"} {
		b.Run(name, func(b *testing.B) {
			o := Options{}
			if name == "limit" {
				o.Rate = limit.Rate{Units: limit.MostUnits, Per: time.Second, Burst: limit.MostUnits}
			}
			g := serveOptions(b, openRedis(b, server), true, o)
			g.admit("boss", time.Time{}, "all")
			b.SetParallelism(32)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for c := g.as("boss"); pb.Next(); {
					if _, _, err := c.Pool(b.Context(), tms.DefaultPool); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
