package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

const releaseFor = 5 * time.Second // how long it is tried to give a token back

var errClosed = errors.New("client: it is closed")

// keepers are those of one client, one for each pool in which it holds something.
type keepers struct {
	keepAlive, unblock verb
	running            sync.WaitGroup
	clock              clock

	mu     sync.Mutex
	byPool map[string]*keeper
	closed bool
}

func newKeepers(keepAlive, unblock verb) *keepers {
	return &keepers{keepAlive: keepAlive, unblock: unblock, byPool: map[string]*keeper{}}
}

// keep has the leases kept alive by their pool's keeper, which it starts where there is none.
func (ks *keepers) keep(pool string, helds []*Held) error {
	ks.mu.Lock()
	defer ks.mu.Unlock()
	if ks.closed {
		return errClosed
	}
	k := ks.byPool[pool]
	if k == nil {
		k = ks.start(pool)
	}
	for _, h := range helds {
		h.keeper = k
	}
	k.add(helds)
	return nil
}

func (ks *keepers) start(pool string) *keeper {
	k := &keeper{
		pool: pool, clock: ks.clock, keepAlive: ks.keepAlive, unblock: ks.unblock,
		wake: make(chan struct{}, 1), held: map[*Held]struct{}{},
	}
	ctx, cancel := context.WithCancel(context.Background())
	k.ctx = ctx
	ks.byPool[pool] = k
	ks.running.Go(func() {
		k.run(ks.retire)
		cancel()
		k.attempts.Wait()
	})
	return k
}

// retire lets a keeper go that has nothing left to keep.
func (ks *keepers) retire(k *keeper) bool {
	ks.mu.Lock()
	defer ks.mu.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.held) > 0 {
		return false
	}
	if ks.byPool[k.pool] == k {
		delete(ks.byPool, k.pool)
	}
	return true
}

// close gives back all that is held, and waits for the goroutines. Nothing is kept after it.
func (ks *keepers) close() error {
	ks.mu.Lock()
	ks.closed = true
	all := slices.Collect(maps.Values(ks.byPool))
	ks.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), releaseFor)
	defer cancel()
	var errs []error
	for _, k := range all {
		errs = append(errs, k.releaseAll(ctx))
	}
	ks.running.Wait()
	return errors.Join(errs...)
}

// releaseAll gives back all that the keeper holds.
func (k *keeper) releaseAll(ctx context.Context) error {
	var helds []*Held
	k.mu.Lock()
	for h := range k.held {
		helds = append(helds, h)
		k.end(h, ErrReleased)
	}
	k.rouse()
	k.mu.Unlock()
	if err := cmp.Or(k.release(ctx, helds, false)...); err != nil {
		return fmt.Errorf("client: giving back %d tokens of pool %s: %w", len(helds), k.pool, err)
	}
	return nil
}
