package redis

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// maxStep is how many tokens one step is asked for at most. Generate, which is all or nothing, asks for as many as a
// request can carry.
const maxStep = 1_000

// turn is how many keys of a batch are dealt with before others have their turn.
const turn = 100

// Generate implements [tms.Store].
func (s *Store) Generate(ctx context.Context, pool string, request tms.GenerateRequest) (tms.Generated, error) {
	seed := s.newID()
	tokens := rules.Named(request, seed, s.newID)
	a, err := s.repeat(ctx, pool, fnGenerate, generateArgs(request, tokens, seed)...)
	switch {
	case errors.Is(err, tms.ErrPoolFull):
		return tms.Generated{}, tms.Refuse(tms.ErrPoolFull, "the pool has no room for %d more tokens", len(tokens))
	case errors.Is(err, errTooMany):
		return tms.Generated{}, rules.TooManyLabelled(request.Tokens)
	case err != nil:
		return tms.Generated{}, err
	}
	result := tms.Generated{Created: int(a.int()), ExpiresAt: a.instant()}
	result.Existing = len(tokens) - result.Created
	if first := a.text(); first != seed {
		tokens = rules.Values(request.Tokens, first) // as the request was answered before
	}
	result.Differing = int(a.int())
	for _, t := range tokens {
		result.Tokens = append(result.Tokens, t.Value)
	}
	return result, a.failure()
}

func generateArgs(request tms.GenerateRequest, tokens []tms.NewToken, seed string) []string {
	described := rules.Brings(tokens)
	args := make([]string, 4, 4+2*len(tokens))
	if args[2] = seed; request.RequestID != "" {
		args[0], args[1] = request.RequestID, rules.GeneratePrint(request)
	}
	switch {
	case described && request.Update:
		args[3] = "2"
	case described:
		args[3] = "1"
	}
	if rules.Drawn(request) {
		args[3] += "d"
	}
	for _, t := range tokens {
		args = append(args, t.Value)
		if described {
			args = append(args, encodeMetadata(t.Metadata))
		}
	}
	return args
}

// encodeMetadata returns metadata as JSON in the order of its keys, so that equal ones are equal texts, and "" for
// none.
func encodeMetadata(metadata map[string]string) string {
	if len(metadata) == 0 {
		return ""
	}
	text, _ := json.Marshal(metadata) // strings cannot fail
	return string(text)
}

// KeepAlive implements [tms.Store].
func (s *Store) KeepAlive(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	return s.changes.do(ctx, pool, fnKeepAlive, keys)
}

// Unblock implements [tms.Store].
func (s *Store) Unblock(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	return s.changes.do(ctx, pool, fnUnblock, keys)
}

// change carries a verb out, in one step for few keys.
func (s *Store) change(ctx context.Context, pool, function string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	return each(ctx, s, pool, function, keys, func(a *answer, policy rules.Terms, key tms.LeaseKey) tms.TokenResult {
		if err := a.refused(pool); err != nil {
			return tms.TokenResult{Err: err}
		}
		token := a.record().Token(pool, key.Token, policy, a.now, key.LeaseID != "")
		s.pulse.note(pool, token)
		return tms.TokenResult{Token: token}
	}, func(err error) tms.TokenResult { return tms.TokenResult{Err: err} })
}

// Restore implements [tms.Store].
func (s *Store) Restore(ctx context.Context, pool string, values []string) ([]tms.TokenResult, error) {
	keys := make([]tms.LeaseKey, len(values))
	for i, value := range values {
		keys[i].Token = value
	}
	return s.change(ctx, pool, fnRestore, keys)
}

// Delete implements [tms.Store].
func (s *Store) Delete(ctx context.Context, pool string, keys []tms.LeaseKey) ([]error, error) {
	return each(ctx, s, pool, fnDelete, keys, func(a *answer, _ rules.Terms, _ tms.LeaseKey) error {
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
	read func(*answer, rules.Terms, tms.LeaseKey) R, refused func(error) R) ([]R, error) {
	results := make([]R, 0, len(keys))
	for part := range slices.Chunk(keys, turn) {
		a, err := s.call(ctx, pool, function, keyArgs(function, part)...)
		if err != nil {
			return rules.Spread(results, len(keys), err, refused)
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

// keyArgs returns the keys as the function takes them. The third of each token's arguments is the function's own.
func keyArgs(function string, keys []tms.LeaseKey) []string {
	args := make([]string, 0, 3*len(keys))
	for _, key := range keys {
		own := ""
		switch function {
		case fnKeepAlive:
			own = ms(key.TTL)
		case fnUnblock:
			own = howTo(key)
		}
		args = append(args, key.Token, proofOf(key), own)
	}
	return args
}

// strict stands for a lease_id that is required and missing. Nobody can send it, since it does not print.
const strict = "\n"

func proofOf(key tms.LeaseKey) string {
	if key.Strict && key.LeaseID == "" {
		return strict
	}
	return key.LeaseID
}

// howTo returns how a token comes back: "aside", the key's own cooldown, after an "s" where the key
// is strict, or "" for the pool's.
func howTo(key tms.LeaseKey) string {
	switch {
	case key.Quarantine:
		return "aside"
	case key.Cooldown == nil:
		return ""
	}
	own := strconv.FormatInt(key.Cooldown.Milliseconds(), 10)
	if key.Strict {
		return "s" + own
	}
	return own
}

// UnblockClient implements [tms.Store].
func (s *Store) UnblockClient(ctx context.Context, pool, clientID string) (total int, err error) {
	at, value := "", ""
	for more := true; more; {
		a, err := s.call(ctx, pool, fnUnblockClient, clientID, at, value, strconv.Itoa(maxStep))
		if err != nil {
			return total, err
		}
		total += int(a.int())
		more, at, value = a.int() > 0, strconv.FormatInt(a.int(), 10), a.text()
		if a.failure() != nil {
			return total, a.failure()
		}
	}
	return total, nil
}

// UnblockRequest implements [tms.Store].
func (s *Store) UnblockRequest(ctx context.Context, pool, requestID string) (int, error) {
	a, err := s.call(ctx, pool, fnUnblockRequest, requestID)
	if err != nil {
		return 0, err
	}
	return int(a.int()), a.failure()
}
