package redis_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/redis"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

// BenchmarkWake compares two ways to tell a server that a ticket should be shown again: a channel that it subscribes
// to on the connection that it has, and a list that it reads with a blocking command on a connection of its own.
func BenchmarkWake(b *testing.B) {
	b.Run("Channel", func(b *testing.B) {
		benchWake(b, []string{"SPUBLISH", "wake", "ticket"}, func(ctx context.Context, c rueidis.Client, heard func()) {
			c.Receive(ctx, c.B().Ssubscribe().Channel("wake").Build(), func(rueidis.PubSubMessage) { heard() })
		})
	})
	b.Run("List", func(b *testing.B) {
		benchWake(b, []string{"RPUSH", "wake", "ticket"}, func(ctx context.Context, c rueidis.Client, heard func()) {
			for c.Do(ctx, c.B().Blpop().Key("wake").Timeout(1).Build()).NonRedisError() == nil {
				heard()
			}
		})
	})
}

// benchWake measures one way: listen calls heard for each wake until ctx ends.
func benchWake(b *testing.B, wake []string, listen func(ctx context.Context, c rueidis.Client, heard func())) {
	server := redistest.New(b)
	waker, listener := raw(b, server), raw(b, server)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	heard := make(chan time.Time, 1)
	var listening sync.WaitGroup
	listening.Go(func() { listen(ctx, listener, func() { heard <- time.Now() }) })
	time.Sleep(100 * time.Millisecond)
	took := make([]time.Duration, 0, b.N)
	metered(b, waker, b.N, func() {
		for range b.N {
			start := time.Now()
			ask(b, waker, wake...)
			took = append(took, (<-heard).Sub(start))
		}
	})
	report(b, took)
	cancel()
	if wake[0] == "RPUSH" {
		ask(b, waker, wake...) // ends a blocking read
	}
	go func() {
		for range heard {
		}
	}()
	listening.Wait()
	close(heard)
}

func report(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkHandOff measures from an unblock until another server has picked the token up.
func BenchmarkHandOff(b *testing.B) {
	server := redistest.New(b)
	s, other, c := open(b, server, redis.Options{}), open(b, server, redis.Options{}), raw(b, server)
	put(b, s, "p", tms.PolicyChange{})
	fill(b, s, "p", "a")
	take(b, s, "p")
	woken := make(chan string, 1)
	ctx, cancel := context.WithCancel(b.Context())
	var listening sync.WaitGroup
	listening.Go(func() { other.Listen(ctx, func(ticket string) { woken <- ticket }) })
	eventually(b, "the store listens", other.Listening)
	took := make([]time.Duration, 0, b.N)
	metered(b, c, b.N, func() {
		for i := range b.N {
			r := ticket(fmt.Sprint(i))
			join(b, other, "p", r, 1)
			start := time.Now()
			release(b, s, "p", "a")
			<-woken
			picks(b, other, "p", r, "a")
			took = append(took, time.Since(start))
		}
	})
	report(b, took)
	cancel()
	listening.Wait()
}

// BenchmarkShowTickets measures what a server's tickets cost that are shown again, 1,000 in a step.
func BenchmarkShowTickets(b *testing.B) {
	server := redistest.New(b)
	s, c := open(b, server, redis.Options{}), raw(b, server)
	put(b, s, "p", tms.PolicyChange{})
	fill(b, s, "p", "a")
	take(b, s, "p")
	requests := make([]tms.AssignRequest, 1000)
	for i := range requests {
		requests[i] = ticket(tms.NewValue())
	}
	_, err := s.Assign(b.Context(), "p", requests)
	must(b, err)
	metered(b, c, len(requests)*b.N, func() {
		for range b.N {
			_, err := s.Assign(b.Context(), "p", requests)
			must(b, err)
		}
	})
}
