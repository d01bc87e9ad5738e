package storetest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	tms "github.com/manankarani/token-manager"
)

// witness is a store that passes every operation to the next of the stores in turn, and remembers what was said about
// leases, so that the invariant check can compare it.
type witness struct {
	stores []tms.Sweeper
	turn   atomic.Uint64
	steps  atomic.Int64 // orders the begins and ends of operations

	mu       sync.Mutex
	leases   map[name][]*sighting
	ids      map[string]bool
	loose    map[name]int   // releases that named no lease
	emptied  map[string]int // deletions of pools
	mistakes []string
}

// name names a token.
type name struct{ pool, value string }

// sighting is what is known of one lease from the answers to its client.
type sighting struct {
	fence        int64
	id, clientID string
	assignedAt   time.Time
	expiresAt    time.Time // the latest end that was promised
	released     bool      // somebody may have ended it before
	begin, done  int64     // the steps between which it was assigned
}

func newWitness(stores []tms.Sweeper) *witness {
	return &witness{stores: stores, leases: map[name][]*sighting{}, ids: map[string]bool{}, loose: map[name]int{},
		emptied: map[string]int{}}
}

// next returns the store whose turn it is.
func (w *witness) next() tms.Sweeper { return w.stores[w.turn.Add(1)%uint64(len(w.stores))] }

func (w *witness) mistake(format string, args ...any) {
	w.mistakes = append(w.mistakes, fmt.Sprintf(format, args...))
}

func (w *witness) PutPool(ctx context.Context, name string, c tms.PolicyChange) (tms.Pool, error) {
	return w.next().PutPool(ctx, name, c)
}

func (w *witness) Pool(ctx context.Context, name string) (tms.Pool, tms.Stats, error) {
	return w.next().Pool(ctx, name)
}

func (w *witness) Pools(ctx context.Context, after string, limit int) (tms.PoolPage, error) {
	return w.next().Pools(ctx, after, limit)
}

func (w *witness) PoolNames(ctx context.Context, after string, limit int) ([]string, error) {
	return w.next().PoolNames(ctx, after, limit)
}

func (w *witness) Generate(ctx context.Context, pool string, request tms.GenerateRequest) (tms.Generated, error) {
	return w.next().Generate(ctx, pool, request)
}

func (w *witness) Expire(ctx context.Context, pool string, limit int) (tms.Expired, error) {
	return w.next().Expire(ctx, pool, limit)
}

func (w *witness) Token(ctx context.Context, pool string, key tms.LeaseKey) (tms.Token, error) {
	return w.next().Token(ctx, pool, key)
}

func (w *witness) Tokens(ctx context.Context, pool string, f tms.Filter, cursor string, limit int) (tms.Page, error) {
	return w.next().Tokens(ctx, pool, f, cursor, limit)
}

func (w *witness) Waiters(ctx context.Context, pool string, limit int) ([]tms.Waiter, error) {
	return w.next().Waiters(ctx, pool, limit)
}

func (w *witness) Close() error { return nil }

func (w *witness) DeletePool(ctx context.Context, pool string) error {
	err := w.next().DeletePool(ctx, pool)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.emptied[pool]++
	return err
}

func (w *witness) Assign(ctx context.Context, pool string, requests []tms.AssignRequest) ([]tms.AssignResult, error) {
	begin := w.steps.Add(1)
	results, err := w.next().Assign(ctx, pool, requests)
	done := w.steps.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil && len(results) != len(requests) {
		w.mistake("assign: %d requests have %d results", len(requests), len(results))
	}
	for i, result := range results {
		w.checkError(result.Err)
		for _, t := range result.Tokens {
			if !w.repeated(requests[i], t) {
				w.see(t, begin, done)
			}
		}
	}
	return results, err
}

// repeated reports whether the lease was seen before, with the same fence: the answer to a repeated request, or to a
// ticket that was shown again.
func (w *witness) repeated(r tms.AssignRequest, t tms.Token) bool {
	if r.RequestID == "" && r.Ticket == "" {
		return false
	}
	for _, seen := range w.leases[name{t.Pool, t.Value}] {
		if t.Lease != nil && seen.id == t.Lease.ID && seen.fence == t.Lease.Fence {
			return true
		}
	}
	return false
}

// see remembers a new lease.
func (w *witness) see(t tms.Token, begin, done int64) {
	l := t.Lease
	if l == nil || l.ID == "" || w.ids[l.ID] || l.Fence <= 0 || l.Fence >= 1<<53 {
		w.mistake("assign of %q: a new lease must have a new lease_id and a fence from 1 to 2^53: %+v", t.Value, l)
		return
	}
	w.ids[l.ID] = true
	at := name{t.Pool, t.Value}
	w.leases[at] = append(w.leases[at], &sighting{fence: l.Fence, id: l.ID, clientID: l.ClientID,
		assignedAt: l.AssignedAt,
		expiresAt:  l.ExpiresAt, begin: begin, done: done})
}

func (w *witness) KeepAlive(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	results, err := w.next().KeepAlive(ctx, pool, keys)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.checkResults("keep-alive", keys, results, err)
	for _, result := range results {
		if result.Err == nil && result.Token.Lease != nil {
			w.prolong(name{pool, result.Token.Value}, result.Token.Lease)
		}
	}
	return results, err
}

// prolong remembers the promise of a keep-alive. The assignment may not have been answered yet; then its own is used.
func (w *witness) prolong(at name, l *tms.Lease) {
	for _, seen := range w.leases[at] {
		if seen.fence == l.Fence && l.ExpiresAt.After(seen.expiresAt) {
			seen.expiresAt = l.ExpiresAt
		}
	}
}

func (w *witness) Unblock(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	results, err := w.next().Unblock(ctx, pool, keys)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.checkResults("unblock", keys, results, err)
	for i, key := range keys {
		if i >= len(results) || results[i].Err == nil {
			w.release(pool, key)
		}
	}
	return results, err
}

func (w *witness) Delete(ctx context.Context, pool string, keys []tms.LeaseKey) ([]error, error) {
	results, err := w.next().Delete(ctx, pool, keys)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil && len(results) != len(keys) {
		w.mistake("delete: %d keys have %d results", len(keys), len(results))
	}
	for i, key := range keys {
		if i >= len(results) || results[i] == nil {
			w.release(pool, key)
		}
	}
	return results, err
}

// release remembers that a lease may have ended before its time.
func (w *witness) release(pool string, key tms.LeaseKey) {
	at := name{pool, key.Token}
	if key.LeaseID == "" {
		w.loose[at]++
	}
	for _, seen := range w.leases[at] {
		if seen.id == key.LeaseID {
			seen.released = true
		}
	}
}

func (w *witness) checkResults(verb string, keys []tms.LeaseKey, results []tms.TokenResult, err error) {
	if err == nil && len(results) != len(keys) {
		w.mistake("%s: %d keys have %d results", verb, len(keys), len(results))
	}
	for i, result := range results {
		w.checkError(result.Err)
		if result.Err == nil && result.Token.Value != keys[i].Token {
			w.mistake("%s: result %d is of %q instead of %q", verb, i, result.Token.Value, keys[i].Token)
		}
		if l := result.Token.Lease; l != nil && l.ID != keys[i].LeaseID {
			w.mistake("%s of %q: the result must show the lease_id if and only if the key did", verb, keys[i].Token)
		}
	}
}

// checkError takes note of an item that failed without a code: an item is refused or done.
func (w *witness) checkError(err error) {
	if err != nil && tms.CodeOf(err) == "" {
		w.mistake("an item failed without a code: %v", err)
	}
}

// testimony returns everything that was wrong about leases.
func (w *witness) testimony() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for at, leases := range w.leases {
		slices.SortFunc(leases, func(a, b *sighting) int { return cmp.Compare(a.fence, b.fence) })
		w.checkFences(at, leases)
		w.checkOverlap(at, leases)
	}
	return w.mistakes
}

// checkFences holds that of two assignments of which one was over before the other began, the later has the greater
// fence.
func (w *witness) checkFences(at name, leases []*sighting) {
	var begun int64
	for i, l := range leases {
		if i > 0 && l.fence == leases[i-1].fence {
			w.mistake("token %q: fence %d was issued twice", at.value, l.fence)
		}
		if l.done < begun {
			w.mistake("token %q: an earlier assignment has a greater fence than %d", at.value, l.fence)
		}
		begun = max(begun, l.begin)
	}
}

// checkOverlap holds that a token was assigned again only after its lease had passed or been released.
func (w *witness) checkOverlap(at name, leases []*sighting) {
	unexplained := 0
	for i := 1; i < len(leases); i++ {
		last := leases[i-1]
		if !last.released && !leases[i].assignedAt.After(last.expiresAt) {
			unexplained++
		}
	}
	if unexplained > w.loose[at]+w.emptied[at.pool] {
		w.mistake("token %q was assigned %d times while another lease of it was live", at.value, unexplained)
	}
}

func (w *witness) UnblockClient(ctx context.Context, pool, clientID string) (int, error) {
	n, err := w.next().UnblockClient(ctx, pool, clientID)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.releaseAll(pool, clientID)
	return n, err
}

func (w *witness) UnblockRequest(ctx context.Context, pool, requestID string) (int, error) {
	n, err := w.next().UnblockRequest(ctx, pool, requestID)
	w.mu.Lock()
	defer w.mu.Unlock()
	if n > 0 || err != nil { // of which of them nobody is told
		w.emptied[pool] += max(1, n)
	}
	return n, err
}

// releaseAll remembers that every lease of a client may have ended before its time.
func (w *witness) releaseAll(pool, clientID string) {
	for at, leases := range w.leases {
		for _, seen := range leases {
			seen.released = seen.released || at.pool == pool && seen.clientID == clientID
		}
	}
}

func (w *witness) Restore(ctx context.Context, pool string, values []string) ([]tms.TokenResult, error) {
	return w.next().Restore(ctx, pool, values)
}
