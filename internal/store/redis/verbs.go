package redis

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// maxStep is how many tokens one step is asked for at most. Generate, which is all or nothing, asks for as many as a
// request can carry.
const maxStep = 1_000

// Generate implements [tms.Store].
func (s *Store) Generate(ctx context.Context, pool string, request tms.GenerateRequest) (tms.Generated, error) {
	tokens := request.Tokens
	result := tms.Generated{Tokens: make([]string, len(tokens))}
	described := slices.ContainsFunc(tokens, func(t tms.NewToken) bool { return len(t.Metadata) > 0 })
	args := make([]string, 1, 1+2*len(tokens))
	for i, t := range tokens {
		if result.Tokens[i] = t.Value; t.Value == "" {
			result.Tokens[i] = s.newID()
		}
		args = append(args, result.Tokens[i])
		if described {
			args[0], args = "1", append(args, encodeMetadata(t.Metadata))
		}
	}
	a, err := s.repeat(ctx, pool, fnGenerate, args...)
	if errors.Is(err, tms.ErrPoolFull) {
		return tms.Generated{}, tms.Refuse(tms.ErrPoolFull, "the pool has no room for %d more tokens", len(tokens))
	}
	if err != nil {
		return tms.Generated{}, err
	}
	policy := a.policy()
	result.Created = int(a.int())
	result.Existing = len(tokens) - result.Created
	result.ExpiresAt = rules.New(a.now, nil).Token(pool, "", policy, a.now, false).ExpiresAt
	return result, a.failure()
}

// Assign implements [tms.Store]. More than 1,000 tokens in all go in several steps.
func (s *Store) Assign(ctx context.Context, pool string, requests []tms.AssignRequest) ([]tms.AssignResult, error) {
	results := make([]tms.AssignResult, 0, len(requests))
	for len(results) < len(requests) {
		part := assignStep(requests[len(results):])
		done, err := s.assign(ctx, pool, part)
		if err != nil {
			return spread(results, len(requests), err, func(err error) tms.AssignResult { return tms.AssignResult{Err: err} })
		}
		results = append(results, done...)
	}
	return results, nil
}

// assignStep returns the requests that go in one step: as many as ask for maxStep tokens together, and at least one.
func assignStep(requests []tms.AssignRequest) []tms.AssignRequest {
	total := 0
	for i, r := range requests {
		if total += max(1, r.Count); total > maxStep {
			return requests[:max(1, i)]
		}
	}
	return requests
}

func (s *Store) assign(ctx context.Context, pool string, requests []tms.AssignRequest) ([]tms.AssignResult, error) {
	args := make([]string, 0, 4*len(requests))
	for _, r := range requests {
		count := max(1, r.Count)
		args = append(args, r.ClientID, ms(r.TTL), strconv.Itoa(count))
		for range count {
			args = append(args, s.newID())
		}
	}
	a, err := s.repeat(ctx, pool, fnAssign, args...)
	if errors.Is(err, tms.ErrPoolPaused) {
		return nil, tms.Refuse(tms.ErrPoolPaused, "pool %q is paused", pool)
	}
	if err != nil {
		return nil, err
	}
	policy, next := a.policy(), a.int()
	results := make([]tms.AssignResult, len(requests))
	for i, r := range requests {
		results[i] = a.assigned(pool, policy, max(1, r.Count), next)
	}
	return results, a.failure()
}

// assigned reads the result of one request.
func (a *answer) assigned(pool string, policy tms.Policy, count int, next int64) tms.AssignResult {
	m := a.next()
	if m != nil && m.IsInt64() {
		available, _ := m.AsInt64()
		return tms.AssignResult{Err: noneAvailable(available, count, next, a.now)}
	}
	in := &answer{now: a.now, err: a.err}
	if m != nil {
		in.values, in.err = m.ToArray()
	}
	tokens := make([]tms.Token, 0, count)
	for in.more() {
		value := in.text()
		r := rules.Record{State: tms.Assigned, Until: in.int()}
		in.lease(&r)
		r.Metadata = in.metadata()
		tokens = append(tokens, r.Token(pool, value, policy, a.now, true))
	}
	a.err = in.err
	return tms.AssignResult{Tokens: tokens}
}

func noneAvailable(available int64, count int, next, now int64) error {
	refusal := tms.Refuse(tms.ErrNoTokenAvailable, "%d of %d tokens are available", available, count)
	if next >= 0 {
		refusal.RetryAfter = time.Duration(next+1-now) * time.Millisecond
	}
	return refusal
}

// KeepAlive implements [tms.Store].
func (s *Store) KeepAlive(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	return s.change(ctx, pool, fnKeepAlive, keys)
}

// Unblock implements [tms.Store].
func (s *Store) Unblock(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	return s.change(ctx, pool, fnUnblock, keys)
}

func (s *Store) change(ctx context.Context, pool, function string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	return each(ctx, s, pool, function, keys, func(a *answer, policy tms.Policy, key tms.LeaseKey) tms.TokenResult {
		if err := a.refused(pool); err != nil {
			return tms.TokenResult{Err: err}
		}
		return tms.TokenResult{Token: a.record().Token(pool, key.Token, policy, a.now, key.LeaseID != "")}
	}, func(err error) tms.TokenResult { return tms.TokenResult{Err: err} })
}

// Delete implements [tms.Store].
func (s *Store) Delete(ctx context.Context, pool string, keys []tms.LeaseKey) ([]error, error) {
	return each(ctx, s, pool, fnDelete, keys, func(a *answer, _ tms.Policy, _ tms.LeaseKey) error {
		err := a.refused(pool)
		if err == nil {
			a.array()
		}
		return err
	}, func(err error) error { return err })
}

// refused reads the code of a refused item, if the next element is one.
func (a *answer) refused(pool string) error {
	if a.more() && a.values[0].IsString() {
		return refusal(pool, a.text())
	}
	return nil
}

// each runs a function on all keys, in as many steps as it takes, and reads a result for each of them.
func each[R any](ctx context.Context, s *Store, pool, function string, keys []tms.LeaseKey,
	read func(*answer, tms.Policy, tms.LeaseKey) R, refused func(error) R) ([]R, error) {
	results := make([]R, 0, len(keys))
	for part := range slices.Chunk(keys, maxStep) {
		a, err := s.call(ctx, pool, function, keyArgs(part)...)
		if err != nil {
			return spread(results, len(keys), err, refused)
		}
		policy := a.policy()
		for _, key := range part {
			results = append(results, read(a, policy, key))
		}
		if err := a.failure(); err != nil {
			return nil, err
		}
	}
	return results, nil
}

func keyArgs(keys []tms.LeaseKey) []string {
	args := make([]string, 0, 3*len(keys))
	for _, key := range keys {
		args = append(args, key.Token, key.LeaseID, ms(key.TTL))
	}
	return args
}

// spread ends a batch at a step that brought an error. A refusal of the first step refuses the batch; one of a later
// step, when something may have changed already, is the answer to the items that are left.
func spread[R any](results []R, size int, err error, refused func(error) R) ([]R, error) {
	if len(results) == 0 || tms.CodeOf(err) == "" {
		return nil, err
	}
	for len(results) < size {
		results = append(results, refused(err))
	}
	return results, nil
}

// UnblockClient implements [tms.Store].
func (s *Store) UnblockClient(ctx context.Context, pool, clientID string) (int, error) {
	return 0, errors.ErrUnsupported
}

// Restore implements [tms.Store].
func (s *Store) Restore(ctx context.Context, pool string, values []string) ([]tms.TokenResult, error) {
	return nil, errors.ErrUnsupported
}
