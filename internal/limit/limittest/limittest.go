// Package limittest holds what every [limit.Limiter] must do, whatever keeps its buckets.
package limittest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/manankarani/token-manager/internal/limit"
)

// Rules runs every rule against limiters that new returns: views of the same buckets, each as another server has it, or
// one where there can be no other.
func Rules(t *testing.T, new func(t testing.TB) []limit.Limiter) {
	for name, rule := range map[string]func(*bench){
		"ABurstPassesAndNoMore":       aBurstPassesAndNoMore,
		"WhatComesPasses":             whatComesPasses,
		"AWaitIsLongEnough":           aWaitIsLongEnough,
		"NamesAreApart":               namesAreApart,
		"ManyUnitsPassTogether":       manyUnitsPassTogether,
		"MoreThanTheBurstCostsIt":     moreThanTheBurstCostsIt,
		"ARateThatChangesHoldsAtOnce": aRateThatChangesHoldsAtOnce,
		"AFullBucketHoldsNoMore":      aFullBucketHoldsNoMore,
		"NothingIsSavedUp":            nothingIsSavedUp,
		"NobodyIsForgotten":           nobodyIsForgotten,
		"NoMoreThanTheRatePasses":     noMoreThanTheRatePasses,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it waits, mostly
			rule(&bench{TB: t, views: new(t)})
		})
	}
}

// bench is a test of a rule.
type bench struct {
	testing.TB
	views []limit.Limiter
	next  int
}

// take takes units from a bucket of the rule's own, over each view in turn.
func (b *bench) take(name string, rate limit.Rate, units int) limit.Drawn {
	b.Helper()
	b.next++
	drawn, err := b.views[b.next%len(b.views)].Take(b.Context(), b.Name()+name, rate, units)
	if err != nil {
		b.Fatal(err)
	}
	if (drawn.Units == 0) != (drawn.Wait > 0) || drawn.Left < 0 || drawn.Left > rate.Burst ||
		drawn.Full > rate.Window() {
		b.Fatalf("at %v with a burst of %d: %+v", rate, rate.Burst, drawn)
	}
	return drawn
}

// pass takes single units, which must pass, or must not.
func (b *bench) pass(name string, rate limit.Rate, times int, want bool) {
	b.Helper()
	for i := range times {
		if drawn := b.take(name, rate, 1); (drawn.Units == 1) != want {
			b.Fatalf("unit %d: %+v, want it to pass: %v", i+1, drawn, want)
		}
	}
}

func every(units int, per time.Duration, burst int) limit.Rate {
	return limit.Rate{Units: units, Per: per, Burst: burst}
}

// slow brings nothing while a test runs.
func slow(burst int) limit.Rate { return every(1, time.Hour, burst) }

func aBurstPassesAndNoMore(b *bench) {
	b.pass("x", slow(20), 20, true)
	b.pass("x", slow(20), 5, false)
}

func whatComesPasses(b *bench) {
	rate := every(20, time.Second, 1)
	for range 5 {
		for b.take("x", rate, 1).Units == 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

// Whoever comes back when it was told to passes, where nobody else has come.
func aWaitIsLongEnough(b *bench) {
	second, minute := time.Second, time.Minute
	for _, rate := range []limit.Rate{every(10, second, 2), every(200, second, 2), every(1200, minute, 3)} {
		name := rate.String()
		for range 5 {
			drawn := b.take(name, rate, 2)
			for drawn.Units > 0 {
				drawn = b.take(name, rate, 2)
			}
			time.Sleep(drawn.Wait)
			if drawn = b.take(name, rate, 2); drawn.Units != 2 {
				b.Fatalf("at %v: %+v, after the wait that was asked for", rate, drawn)
			}
		}
	}
}

func namesAreApart(b *bench) {
	b.pass("x", slow(3), 3, true)
	b.pass("y", slow(3), 3, true)
	b.pass("x", slow(3), 1, false)
}

// Units that are asked for together pass together or not at all.
func manyUnitsPassTogether(b *bench) {
	if drawn := b.take("x", slow(10), 7); drawn.Units != 7 {
		b.Fatalf("%+v", drawn)
	}
	if drawn := b.take("x", slow(10), 4); drawn.Units != 0 {
		b.Fatalf("%+v, of 3", drawn)
	}
	b.pass("x", slow(10), 3, true)
	b.pass("x", slow(10), 1, false)
}

func moreThanTheBurstCostsIt(b *bench) {
	if drawn := b.take("x", slow(10), 1000); drawn.Units != 10 {
		b.Fatalf("%+v", drawn)
	}
	b.pass("x", slow(10), 1, false)
}

func aRateThatChangesHoldsAtOnce(b *bench) {
	b.pass("x", slow(10), 10, true)
	b.pass("x", slow(20), 10, true)
	b.pass("x", slow(20), 1, false)
	rate := every(1000, time.Second, 2)
	b.pass("x", rate, 1, false) // it owes as much as it can at this rate, and no hour more
	time.Sleep(3 * rate.Window())
	b.pass("x", rate, 1, true)
}

func aFullBucketHoldsNoMore(b *bench) {
	rate := every(600, time.Minute, 2)
	b.pass("x", rate, 2, true)
	time.Sleep(3 * rate.Window() / 2)
	b.pass("x", rate, 2, true)
	b.pass("x", rate, 1, false)
}

// What a server has fetched ahead and not used is no more than what the bucket holds, once that is full again.
func nothingIsSavedUp(b *bench) {
	rate := every(1000, time.Second, 200)
	b.pass("x", rate, 100, true)
	time.Sleep(1100 * time.Millisecond)
	begun, passed := time.Now(), 0
	for b.take("x", rate, 1).Units > 0 {
		passed++
	}
	if most := 200 + time.Since(begun).Milliseconds() + 1; int64(passed) > most {
		b.Errorf("%d passed, want at most %d", passed, most)
	}
}

// However many names there are, each has its bucket.
func nobodyIsForgotten(b *bench) {
	b.pass("x", slow(2), 2, true)
	for i := range 3_000 {
		b.pass(fmt.Sprint("other-", i), slow(2), 1, true)
	}
	b.pass("x", slow(2), 1, false)
	b.pass("other-0", slow(2), 1, true)
	b.pass("other-0", slow(2), 1, false)
}

// However many ask at once, over all views, no more pass than the burst and what comes; and where they can ask for all
// of it, no less than that, but for what a server has fetched and not used.
func noMoreThanTheRatePasses(b *bench) {
	for _, rate := range []limit.Rate{every(40, time.Second, 80), every(1000, time.Second, 500)} {
		start, asking := time.Now(), sync.WaitGroup{}
		var passed atomic.Int64
		until := start.Add(2 * time.Second)
		for i := range 4 * len(b.views) {
			view := b.views[i%len(b.views)]
			asking.Go(func() {
				for time.Now().Before(until) {
					drawn, err := view.Take(b.Context(), b.Name()+rate.String(), rate, 1)
					if err != nil {
						b.Error(err)
						return
					}
					passed.Add(int64(drawn.Units))
					time.Sleep(min(drawn.Wait, time.Millisecond))
				}
			})
		}
		asking.Wait()
		most := float64(rate.Burst) + float64(rate.Units)*time.Since(start).Seconds() + 1
		least := 0.0
		if rate.Units < 100 { // a slow machine may not ask a thousand times a second
			least = 0.9 * (float64(rate.Burst) + float64(rate.Units)*2)
		}
		if n := float64(passed.Load()); n > most || n < least {
			b.Errorf("at %v with a burst of %d %v passed, want from %.0f to %.0f", rate, rate.Burst, n, least, most)
		}
	}
}
