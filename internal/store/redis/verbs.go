package redis

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

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

// act is what is to be done to a token. The verb is a letter, as the function knows it.
type act struct {
	verb byte
	tms.LeaseKey
}

const (
	keepAlive = 'k'
	unblock   = 'u'
	restore   = 'r'
	remove    = 'd'
)

// KeepAlive implements [tms.Store].
func (s *Store) KeepAlive(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	return s.changes.do(ctx, pool, acts(keepAlive, keys))
}

// Unblock implements [tms.Store].
func (s *Store) Unblock(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	return s.changes.do(ctx, pool, acts(unblock, keys))
}

// Restore implements [tms.Store].
func (s *Store) Restore(ctx context.Context, pool string, values []string) ([]tms.TokenResult, error) {
	keys := make([]tms.LeaseKey, len(values))
	for i, value := range values {
		keys[i].Token = value
	}
	return s.changes.do(ctx, pool, acts(restore, keys))
}

// Delete implements [tms.Store].
func (s *Store) Delete(ctx context.Context, pool string, keys []tms.LeaseKey) ([]error, error) {
	results, err := s.changes.do(ctx, pool, acts(remove, keys))
	if err != nil {
		return nil, err
	}
	errs := make([]error, len(results))
	for i, result := range results {
		errs[i] = result.Err
	}
	return errs, nil
}

func acts(verb byte, keys []tms.LeaseKey) []act {
	list := make([]act, len(keys))
	for i, key := range keys {
		list[i] = act{verb, key}
	}
	return list
}

// change carries verbs out, in one step for few tokens.
func (s *Store) change(ctx context.Context, pool string, list []act) ([]tms.TokenResult, error) {
	results := make([]tms.TokenResult, 0, len(list))
	for part := range slices.Chunk(list, turn) {
		a, err := s.call(ctx, pool, fnChange, changeArgs(part)...)
		if err != nil {
			refused := func(err error) tms.TokenResult { return tms.TokenResult{Err: err} }
			return rules.Spread(results, len(list), err, refused)
		}
		policy := a.policy()
		for _, act := range part {
			results = append(results, s.changed(a, pool, policy, act))
		}
		if err := a.failure(); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// changed reads the result of one act.
func (s *Store) changed(a *answer, pool string, policy rules.Terms, act act) (result tms.TokenResult) {
	result.Token = tms.Token{Pool: pool, Value: act.Token}
	switch text := a.text(); {
	case text == "": // there is no more to say
	case text[0] > '9':
		return tms.TokenResult{Err: refusal(pool, text)}
	case strings.IndexByte(text, ' ') < 0:
		result.Token.State, result.Token.Lease = tms.Assigned, a.lasts(act.LeaseID, text)
	default:
		result.Token = a.packed(text).Token(pool, act.Token, policy, a.now, act.LeaseID != "")
	}
	s.pulse.note(pool, result.Token)
	return result
}

// lasts reads the end of a lease of which nothing else is said. The ID is that of the key, if it named one.
func (a *answer) lasts(id, text string) *tms.Lease {
	var till int64
	a.parse([]string{text}, &till)
	till += a.ahead
	return &tms.Lease{ID: id, ExpiresAt: rules.Instant(till), TTL: time.Duration(till-a.now) * time.Millisecond}
}

// changeArgs returns the acts as the function takes them.
func changeArgs(list []act) []string {
	args := make([]string, 1, 1+3*len(list))
	if !slices.ContainsFunc(list, func(a act) bool { return !a.Brief }) {
		args[0] = "1"
	}
	for _, act := range list {
		args = append(args, act.Token, proofOf(act.LeaseKey), act.how())
	}
	return args
}

// how returns the verb, and what belongs to it: of a keep-alive the ttl, of an unblock how the token comes back.
func (a act) how() string {
	switch {
	case a.verb == keepAlive:
		return "k" + ms(a.TTL)
	case a.verb == unblock:
		return "u" + howTo(a.LeaseKey)
	}
	return string(a.verb)
}

// What stands for a lease_id that is missing: it is required, or a key, whose name follows, acts by force. Nobody can
// send them, since they do not print.
const (
	strict = "\n"
	force  = "\r"
)

func proofOf(key tms.LeaseKey) string {
	switch {
	case key.LeaseID != "":
		return key.LeaseID
	case key.Strict:
		return strict
	case key.By != "":
		return force + key.By
	}
	return ""
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
