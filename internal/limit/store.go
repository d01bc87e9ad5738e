package limit

import (
	"context"
	"net/netip"
	"time"

	tms "github.com/manankarani/token-manager"
)

// Payer is who pays for a call.
type Payer struct {
	Name string // of the bucket
	By   string // what kind of name that is, for metrics
	Rate Rate   // zero: nobody counts
}

// Store is a store that refuses with [tms.ErrRateLimited], before anything is done, who asks more often than the rate
// allows. It is made with [Wrap].
//
// A call costs one unit, and one more for each hundred tokens that it names or asks for. One that waits costs that when
// it begins, however long it waits. Whoever keeps a lease, or ends one, is never refused: a limit must not cost a
// healthy holder its lease, and what comes back is good for everybody. So KeepAlive, Unblock, UnblockClient,
// UnblockRequest, and a Delete that shows the lease_id of each token are those of the store within.
type Store struct {
	tms.Store
	limiter Limiter
	payer   func(context.Context) Payer
	refused func(by string)
}

// Wrap returns the store behind the limiter. Payer says who pays for the call of a context; refused is called for each
// call that is refused.
func Wrap(store tms.Store, limiter Limiter, payer func(context.Context) Payer, refused func(by string)) *Store {
	return &Store{store, limiter, payer, refused}
}

const perUnit = 100 // tokens that one unit more buys

func (s *Store) charge(ctx context.Context, tokens int) error {
	payer := s.payer(ctx)
	if payer.Rate.IsZero() {
		return nil
	}
	drawn, err := s.limiter.Take(ctx, payer.Name, payer.Rate, 1+tokens/perUnit)
	if err != nil {
		return unasked(ctx, err)
	}
	tell(ctx, payer.Rate, drawn)
	if drawn.Units > 0 {
		return nil
	}
	s.refused(payer.By)
	return Refusal(payer.Rate, drawn.Wait)
}

// Refusal is that of somebody who asks more often than the rate allows.
func Refusal(rate Rate, wait time.Duration) error {
	refusal := tms.Refuse(tms.ErrRateLimited, "more is asked than %v allows, with %d at once; ask again in %v", rate,
		rate.Burst, wait.Round(time.Millisecond))
	refusal.RetryAfter = max(wait, time.Millisecond)
	return refusal
}

// unasked is the error of a limiter that could not be asked: the store was not asked either, so that nothing changed.
func unasked(ctx context.Context, err error) error {
	if ctx.Err() != nil || tms.CodeOf(err) != "" {
		return err
	}
	return tms.Refuse(tms.ErrStoreUnavailable, "the rate limit cannot be asked: %v", err)
}

// Network returns the address, or of IPv6, which gives one machine many, the network of it.
func Network(addr netip.Addr) netip.Addr {
	if addr.Is6() {
		network, _ := addr.WithZone("").Prefix(64)
		return network.Addr()
	}
	return addr
}

// Visit is what a door knows of a request, and hears of the limit.
type Visit struct {
	Address netip.Addr          // the client's
	Header  map[string][]string // of the answer; nil: there is none
	Trace   func() string       // returns the name of the request; nil: it has none
}

type visitKey struct{}

// With returns the context in which the visit asks the store.
func With(ctx context.Context, visit *Visit) context.Context {
	return context.WithValue(ctx, visitKey{}, visit)
}

// VisitOf returns the visit of the context; nil: there is none.
func VisitOf(ctx context.Context) *Visit {
	visit, _ := ctx.Value(visitKey{}).(*Visit)
	return visit
}

func tell(ctx context.Context, rate Rate, drawn Drawn) {
	if visit := VisitOf(ctx); visit != nil && visit.Header != nil {
		policy, left := rate.fields(drawn)
		visit.Header["Ratelimit-Policy"], visit.Header["Ratelimit"] = []string{policy}, []string{left}
	}
}

// PutPool implements [tms.Store].
func (s *Store) PutPool(ctx context.Context, name string, change tms.PolicyChange) (tms.Pool, error) {
	if err := s.charge(ctx, 0); err != nil {
		return tms.Pool{}, err
	}
	return s.Store.PutPool(ctx, name, change)
}

// Pool implements [tms.Store].
func (s *Store) Pool(ctx context.Context, name string) (tms.Pool, tms.Stats, error) {
	if err := s.charge(ctx, 0); err != nil {
		return tms.Pool{}, tms.Stats{}, err
	}
	return s.Store.Pool(ctx, name)
}

// Pools implements [tms.Store].
func (s *Store) Pools(ctx context.Context, after string, limit int) (tms.PoolPage, error) {
	if err := s.charge(ctx, limit); err != nil {
		return tms.PoolPage{}, err
	}
	return s.Store.Pools(ctx, after, limit)
}

// DeletePool implements [tms.Store].
func (s *Store) DeletePool(ctx context.Context, name string) error {
	if err := s.charge(ctx, 0); err != nil {
		return err
	}
	return s.Store.DeletePool(ctx, name)
}

// Generate implements [tms.Store].
func (s *Store) Generate(ctx context.Context, pool string, request tms.GenerateRequest) (tms.Generated, error) {
	if err := s.charge(ctx, len(request.Tokens)); err != nil {
		return tms.Generated{}, err
	}
	return s.Store.Generate(ctx, pool, request)
}

// Assign implements [tms.Store].
func (s *Store) Assign(ctx context.Context, pool string, requests []tms.AssignRequest) ([]tms.AssignResult, error) {
	tokens := 0
	for _, r := range requests {
		tokens += max(1, r.Count)
	}
	if err := s.charge(ctx, tokens); err != nil {
		return nil, err
	}
	return s.Store.Assign(ctx, pool, requests)
}

// Restore implements [tms.Store].
func (s *Store) Restore(ctx context.Context, pool string, values []string) ([]tms.TokenResult, error) {
	if err := s.charge(ctx, len(values)); err != nil {
		return nil, err
	}
	return s.Store.Restore(ctx, pool, values)
}

// Delete implements [tms.Store].
func (s *Store) Delete(ctx context.Context, pool string, keys []tms.LeaseKey) ([]error, error) {
	unproven := 0
	for _, key := range keys {
		if key.LeaseID == "" {
			unproven++
		}
	}
	if unproven > 0 {
		if err := s.charge(ctx, unproven); err != nil {
			return nil, err
		}
	}
	return s.Store.Delete(ctx, pool, keys)
}

// Waiters implements [tms.Store].
func (s *Store) Waiters(ctx context.Context, pool string, limit int) ([]tms.Waiter, error) {
	if err := s.charge(ctx, limit); err != nil {
		return nil, err
	}
	return s.Store.Waiters(ctx, pool, limit)
}

// Token implements [tms.Store].
func (s *Store) Token(ctx context.Context, pool string, key tms.LeaseKey) (tms.Token, error) {
	if err := s.charge(ctx, 0); err != nil {
		return tms.Token{}, err
	}
	return s.Store.Token(ctx, pool, key)
}

// Tokens implements [tms.Store].
func (s *Store) Tokens(ctx context.Context, pool string, f tms.Filter, cursor string, limit int) (tms.Page, error) {
	if err := s.charge(ctx, limit); err != nil {
		return tms.Page{}, err
	}
	return s.Store.Tokens(ctx, pool, f, cursor, limit)
}

// Ready implements [tms.Readier]. It costs nothing.
func (s *Store) Ready(ctx context.Context) error {
	if readier, ok := s.Store.(tms.Readier); ok {
		return readier.Ready(ctx)
	}
	return nil
}
