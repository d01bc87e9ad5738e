package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	tms "github.com/manankarani/token-manager"
)

const ttl = time.Minute

// book is a server of leases in a bubble of synctest. What it does with a keep-alive is the test's to decide.
type book struct {
	t    *testing.T
	keep *keepers

	mu sync.Mutex
	mood
	ends     map[string]time.Time // when the server lets go of each token
	sizes    []int                // of the keep-alives that arrived
	returned []tms.LeaseKey
}

// mood is how the server is.
type mood struct {
	there, back time.Duration // how long requests and answers are under way
	hangs       bool          // no answer comes
	away        bool          // requests do not arrive
	refusal     error         // of the whole batch
	item        error         // of each key
	grants      time.Duration // what the server says is left of a lease; zero: ttl
	most        int           // keys that it takes in one request; zero: any number
}

func (b *book) is(m mood) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mood = m
}

func (b *book) now() mood {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mood
}

// asked returns the sizes of the requests since it was last called.
func (b *book) asked() []int {
	b.mu.Lock()
	defer b.mu.Unlock()
	sizes := b.sizes
	b.sizes = nil
	return sizes
}

// inBubble runs a test with a book, and sees that nothing runs on after it.
func inBubble(t *testing.T, test func(t *testing.T, b *book)) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{t: t, ends: map[string]time.Time{}}
		b.keep = newKeepers(b.keepAlive, b.unblock)
		defer b.keep.close()
		test(t, b)
		b.keep.close()
		if len(b.keep.byPool) > 0 {
			t.Errorf("%d keepers are left", len(b.keep.byPool))
		}
	})
}

func (b *book) keepAlive(ctx context.Context, _ string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	m := b.now()
	if m.away {
		return nil, fmt.Errorf("no route: %w", ErrUnreachable)
	}
	if err := sleep(ctx, m.there); err != nil {
		return nil, err
	}
	results, err := b.renew(keys)
	if m.hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if late := sleep(ctx, m.back); late != nil {
		return nil, late
	}
	return results, err
}

func (b *book) renew(keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sizes = append(b.sizes, len(keys))
	if b.refusal != nil {
		return nil, b.refusal
	}
	if b.most > 0 && len(keys) > b.most {
		return nil, tms.ErrBodyTooLarge
	}
	results := make([]tms.TokenResult, len(keys))
	for i, key := range keys {
		if results[i].Err = b.item; b.item == nil {
			granted := cmp.Or(b.grants, ttl)
			b.ends[key.Token] = later(b.ends[key.Token], time.Now().Add(granted))
			results[i].Token = tms.Token{Value: key.Token, Lease: &tms.Lease{TTL: granted}}
		}
	}
	return results, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (b *book) unblock(_ context.Context, _ string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.returned = append(b.returned, keys...)
	if b.away {
		return nil, ErrUnreachable
	}
	return make([]tms.TokenResult, len(keys)), nil
}

// hold gives a lease that was asked for and granted now.
func (b *book) hold(token string, opts ...AcquireOption) *Held {
	b.t.Helper()
	var a acquire
	for _, set := range opts {
		set(&a)
	}
	b.ends[token] = time.Now().Add(ttl)
	lease := tms.Token{Pool: "p", Value: token, Lease: &tms.Lease{ID: "id-" + token, TTL: ttl}}
	h, err := newHeld(b.t.Context(), a, lease, time.Now())
	if err == nil {
		err = b.keep.keep("p", []*Held{h})
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return h
}

// endsWith waits for the end of the lease, which must be the given one, and before the server lets go of the token.
func (b *book) endsWith(h *Held, want error) {
	b.t.Helper()
	<-h.Context().Done()
	b.mu.Lock()
	defer b.mu.Unlock()
	if left := time.Until(b.ends[h.Token()]); left <= 0 {
		b.t.Errorf("the context ended %v after the server could give the token away", -left)
	}
	if err := h.Err(); !errors.Is(err, want) || !errors.Is(context.Cause(h.Context()), want) {
		b.t.Errorf("the lease ended with %v, want %v", err, want)
	}
}

// stands checks that the lease stands after a while.
func (b *book) stands(h *Held, after time.Duration) {
	b.t.Helper()
	time.Sleep(after)
	if err := h.Err(); err != nil || h.Context().Err() != nil {
		b.t.Fatalf("the lease ended: %v", err)
	}
}
