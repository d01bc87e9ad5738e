package audit

import (
	"context"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/limit"
	"github.com/manankarani/token-manager/internal/secret"
)

// Config says what a [Store] writes down, and where.
type Config struct {
	Log  *Log
	Who  func(context.Context) string // the key of the caller; empty: there is none
	Keys secret.Source                // of the installation

	// Required refuses, with [tms.ErrStoreUnavailable], a change of which no line of intent could be written before.
	// What ends a lease is not refused.
	Required bool
}

// Store is a store that writes a line for each change that was carried out, or may have been, and for each call that
// was refused for want of rights. It is made with [Wrap].
//
// A change has a line for each token; generate, what ends the leases of a client or of a request, and what concerns a
// pool has one in all. Other refusals have none, since nothing changed; where an audit is required they have, as the
// ends of their intents. KeepAlive and lookups have lines only where they are refused for want of rights.
type Store struct {
	store  tms.Store
	config Config
}

// Wrap returns the store whose changes are written down.
func Wrap(store tms.Store, config Config) *Store { return &Store{store: store, config: config} }

// Denied writes down a request that was refused for want of rights before any store was asked.
func (s *Store) Denied(ctx context.Context, route string, err error) {
	s.begin(ctx, route, "").end(err)
}

// call is one call of the store that is written down.
type call struct {
	Line
	config *Config
	key    secret.Key
}

func (s *Store) begin(ctx context.Context, verb, pool string) *call {
	key, _ := s.config.Keys(ctx) // without it nothing else of the store can be had either
	c := &call{config: &s.config, key: key}
	c.Line = Line{ID: tms.NewValue(), Key: s.config.Who(ctx), Verb: verb, Pool: pool}
	if visit := limit.VisitOf(ctx); visit != nil {
		c.Address = visit.Address
		if visit.Trace != nil {
			c.Trace = visit.Trace()
		}
	}
	return c
}

// intend writes that something is going to be done, where that is required.
func (c *call) intend(ctx context.Context) error {
	if !c.config.Required {
		return nil
	}
	line := c.Line
	line.Time, line.Outcome = time.Now(), intent
	if err := c.config.Log.Put(ctx, line.encode()); err != nil {
		return tms.Refuse(tms.ErrStoreUnavailable, "the audit is required and cannot be written: %v", err)
	}
	return nil
}

// end writes how the call has ended in all, where that is written.
func (c *call) end(err error) { c.write(c.Line, err) }

func (c *call) write(line Line, err error) {
	line.end(err)
	if !c.config.Required && tms.CodeOf(err) != "" && !isDenial(err) {
		return
	}
	line.Time = time.Now()
	c.config.Log.Add(line.encode())
}

// denied writes a refusal for want of rights, and nothing else.
func (s *Store) denied(ctx context.Context, verb, pool string, err error) error {
	if isDenial(err) {
		s.begin(ctx, verb, pool).end(err)
	}
	return err
}

func (c *call) maskToken(value string) string { return c.key.Token(c.Pool, value) }

func (c *call) maskRequest(id string) string {
	if id == "" {
		return ""
	}
	return c.key.Mask("request", c.Pool, id)
}

// PutPool implements [tms.Store].
func (s *Store) PutPool(ctx context.Context, name string, change tms.PolicyChange) (tms.Pool, error) {
	c := s.begin(ctx, "put_pool", name)
	if err := c.intend(ctx); err != nil {
		return tms.Pool{}, err
	}
	pool, err := s.store.PutPool(ctx, name, change)
	c.end(err)
	return pool, err
}

// DeletePool implements [tms.Store].
func (s *Store) DeletePool(ctx context.Context, name string) error {
	c := s.begin(ctx, "delete_pool", name)
	if err := c.intend(ctx); err != nil {
		return err
	}
	err := s.store.DeletePool(ctx, name)
	c.end(err)
	return err
}

// Generate implements [tms.Store].
func (s *Store) Generate(ctx context.Context, pool string, request tms.GenerateRequest) (tms.Generated, error) {
	c := s.begin(ctx, "generate", pool)
	c.RequestID = c.maskRequest(request.RequestID)
	if err := c.intend(ctx); err != nil {
		return tms.Generated{}, err
	}
	generated, err := s.store.Generate(ctx, pool, request)
	c.Count = generated.Created
	c.end(err)
	return generated, err
}

// Assign implements [tms.Store].
func (s *Store) Assign(ctx context.Context, pool string, requests []tms.AssignRequest) ([]tms.AssignResult, error) {
	c := s.begin(ctx, "assign", pool)
	if len(requests) == 1 {
		c.ClientID, c.RequestID = requests[0].ClientID, c.maskRequest(requests[0].RequestID)
	}
	if err := c.intend(ctx); err != nil {
		return nil, err
	}
	results, err := s.store.Assign(ctx, pool, requests)
	if err != nil {
		c.end(err)
	}
	for i, result := range results {
		c.ClientID, c.RequestID = requests[i].ClientID, c.maskRequest(requests[i].RequestID)
		c.assigned(result)
	}
	return results, err
}

func (c *call) assigned(result tms.AssignResult) {
	if result.Err != nil {
		c.end(result.Err)
	}
	for _, token := range result.Tokens {
		line := c.Line
		line.Token = c.maskToken(token.Value)
		if token.Lease != nil {
			line.Fence = token.Lease.Fence
		}
		c.write(line, nil)
	}
}

// KeepAlive implements [tms.Store].
func (s *Store) KeepAlive(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	results, err := s.store.KeepAlive(ctx, pool, keys)
	for i, result := range results {
		if isDenial(result.Err) {
			s.begin(ctx, "keep_alive", pool).token(keys[i], result.Err)
		}
	}
	return results, s.denied(ctx, "keep_alive", pool, err)
}

// Unblock implements [tms.Store].
func (s *Store) Unblock(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	c := s.begin(ctx, "unblock", pool)
	results, err := s.store.Unblock(ctx, pool, keys)
	if err != nil {
		c.end(err)
	}
	for i, result := range results {
		c.token(keys[i], result.Err)
	}
	return results, err
}

// token writes what became of one token.
func (c *call) token(key tms.LeaseKey, err error) {
	line := c.Line
	line.Token, line.Forced = c.maskToken(key.Token), key.LeaseID == ""
	c.write(line, err)
}

// UnblockClient implements [tms.Store].
func (s *Store) UnblockClient(ctx context.Context, pool, clientID string) (int, error) {
	c := s.begin(ctx, "unblock_client", pool)
	c.ClientID = clientID
	n, err := s.store.UnblockClient(ctx, pool, clientID)
	c.Count = n
	c.end(err)
	return n, err
}

// UnblockRequest implements [tms.Store].
func (s *Store) UnblockRequest(ctx context.Context, pool, requestID string) (int, error) {
	c := s.begin(ctx, "unblock_request", pool)
	c.RequestID = c.maskRequest(requestID)
	n, err := s.store.UnblockRequest(ctx, pool, requestID)
	c.Count = n
	c.end(err)
	return n, err
}

// Restore implements [tms.Store].
func (s *Store) Restore(ctx context.Context, pool string, values []string) ([]tms.TokenResult, error) {
	c := s.begin(ctx, "restore", pool)
	if err := c.intend(ctx); err != nil {
		return nil, err
	}
	results, err := s.store.Restore(ctx, pool, values)
	if err != nil {
		c.end(err)
	}
	for i, result := range results {
		line := c.Line
		line.Token = c.maskToken(values[i])
		c.write(line, result.Err)
	}
	return results, err
}

// Delete implements [tms.Store].
func (s *Store) Delete(ctx context.Context, pool string, keys []tms.LeaseKey) ([]error, error) {
	c := s.begin(ctx, "delete", pool)
	if err := c.intend(ctx); err != nil {
		return nil, err
	}
	results, err := s.store.Delete(ctx, pool, keys)
	if err != nil {
		c.end(err)
	}
	for i, refused := range results {
		c.token(keys[i], refused)
	}
	return results, err
}

// Pool implements [tms.Store].
func (s *Store) Pool(ctx context.Context, name string) (tms.Pool, tms.Stats, error) {
	pool, stats, err := s.store.Pool(ctx, name)
	return pool, stats, s.denied(ctx, "pool", name, err)
}

// Pools implements [tms.Store].
func (s *Store) Pools(ctx context.Context, after string, limit int) (tms.PoolPage, error) {
	page, err := s.store.Pools(ctx, after, limit)
	return page, s.denied(ctx, "pools", "", err)
}

// Token implements [tms.Store].
func (s *Store) Token(ctx context.Context, pool string, key tms.LeaseKey) (tms.Token, error) {
	token, err := s.store.Token(ctx, pool, key)
	return token, s.denied(ctx, "token", pool, err)
}

// Tokens implements [tms.Store].
func (s *Store) Tokens(ctx context.Context, pool string, f tms.Filter, cursor string, limit int) (tms.Page, error) {
	page, err := s.store.Tokens(ctx, pool, f, cursor, limit)
	return page, s.denied(ctx, "tokens", pool, err)
}

// Waiters implements [tms.Store].
func (s *Store) Waiters(ctx context.Context, pool string, limit int) ([]tms.Waiter, error) {
	all, err := s.store.Waiters(ctx, pool, limit)
	return all, s.denied(ctx, "waiters", pool, err)
}

// Close implements [tms.Store].
func (s *Store) Close() error { return s.store.Close() }

// Ready implements [tms.Readier].
func (s *Store) Ready(ctx context.Context) error {
	if readier, ok := s.store.(tms.Readier); ok {
		return readier.Ready(ctx)
	}
	return nil
}
