package storetest

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	tms "github.com/manankarani/token-manager"
)

const (
	ms     = time.Millisecond
	second = time.Second
	minute = time.Minute
)

// tester is what a rule needs of a test, be it of package testing or of package rapid.
type tester interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Failed() bool
	Context() context.Context
}

// env is what a rule works with: the test, the stores in turn, their clock, and short words for single operations. The
// words that end the test must be used in the test's own goroutine only.
type env struct {
	tester
	*witness
	clock *Clock   // nil: the stores live in real time
	pools []string // those that the invariant check looks at
}

func newEnv(t tester, w *witness, clock *Clock) *env {
	return &env{tester: t, witness: w, clock: clock}
}

// newName returns a name that no pool has had.
func newName() string { return "t-" + strings.ToLower(tms.NewValue()) }

// pool makes a pool with a fresh name.
func (e *env) pool(change tms.PolicyChange) string {
	e.Helper()
	name := newName()
	e.pools = append(e.pools, name)
	e.change(name, change)
	return name
}

// change sets parts of a pool's policy, or makes the pool.
func (e *env) change(pool string, change tms.PolicyChange) tms.Pool {
	e.Helper()
	p, err := e.PutPool(e.Context(), pool, change)
	e.must(err)
	return p
}

// advance moves the clock on.
func (e *env) advance(d time.Duration) { e.clock.Advance(d) }

// instant returns the instant that lies d after the clock's.
func (e *env) instant(d time.Duration) time.Time { return e.clock.Now().Add(d) }

// fill generates tokens with these values, all of them new.
func (e *env) fill(pool string, values ...string) {
	e.Helper()
	g := e.generate(pool, values...)
	e.equal("tokens created", g.Created, len(values))
}

// generate generates tokens with these values.
func (e *env) generate(pool string, values ...string) tms.Generated {
	e.Helper()
	g, err := e.Generate(e.Context(), pool, tms.GenerateRequest{Tokens: newTokens(values...)})
	e.must(err)
	return g
}

func newTokens(values ...string) []tms.NewToken {
	tokens := make([]tms.NewToken, len(values))
	for i, value := range values {
		tokens[i].Value = value
	}
	return tokens
}

// take assigns one token, which must be there.
func (e *env) take(pool string) tms.Token {
	e.Helper()
	return e.takeAs(pool, tms.AssignRequest{})[0]
}

// takeAs assigns what the request asks for, which must be there.
func (e *env) takeAs(pool string, request tms.AssignRequest) []tms.Token {
	e.Helper()
	result := e.tryTake(pool, request)
	e.must(result.Err)
	if want := max(1, request.Count); len(result.Tokens) != want {
		e.Fatalf("assign gave %d tokens instead of %d", len(result.Tokens), want)
	}
	return result.Tokens
}

// tryTake runs a batch of one request. A refusal of the batch stands as that of the item.
func (e *env) tryTake(pool string, request tms.AssignRequest) tms.AssignResult {
	results, err := e.Assign(e.Context(), pool, []tms.AssignRequest{request})
	if err != nil || len(results) != 1 {
		return tms.AssignResult{Err: orWrongCount(err)}
	}
	return results[0]
}

// keep runs a batch of one keep-alive.
func (e *env) keep(pool string, key tms.LeaseKey) (tms.Token, error) {
	return one(e.KeepAlive(e.Context(), pool, []tms.LeaseKey{key}))
}

// giveBack runs a batch of one unblock.
func (e *env) giveBack(pool string, key tms.LeaseKey) (tms.Token, error) {
	return one(e.Unblock(e.Context(), pool, []tms.LeaseKey{key}))
}

// drop runs a batch of one delete.
func (e *env) drop(pool string, key tms.LeaseKey) error {
	results, err := e.Delete(e.Context(), pool, []tms.LeaseKey{key})
	if err != nil || len(results) != 1 {
		return orWrongCount(err)
	}
	return results[0]
}

func one(results []tms.TokenResult, err error) (tms.Token, error) {
	if err != nil || len(results) != 1 {
		return tms.Token{}, orWrongCount(err)
	}
	return results[0].Token, results[0].Err
}

func orWrongCount(err error) error {
	if err == nil {
		return errors.New("a batch of one has not one result")
	}
	return err
}

// keyOf names the token and its lease.
func keyOf(t tms.Token) tms.LeaseKey { return tms.LeaseKey{Token: t.Value, LeaseID: t.Lease.ID} }

// byValue names the token alone.
func byValue(value string) tms.LeaseKey { return tms.LeaseKey{Token: value} }

// look returns the token, which must be there, without its past.
func (e *env) look(pool, value string) tms.Token {
	e.Helper()
	t := e.lookUp(pool, value)
	t.Past = nil
	return t
}

// lookUp returns the token, which must be there.
func (e *env) lookUp(pool, value string) tms.Token {
	e.Helper()
	t, err := e.Token(e.Context(), pool, tms.LeaseKey{Token: value})
	e.must(err)
	return t
}

// is checks the token's state; "" means that there is no such token.
func (e *env) is(pool, value string, want tms.State) {
	e.Helper()
	t, err := e.Token(e.Context(), pool, tms.LeaseKey{Token: value})
	if want == "" {
		e.refused(err, tms.ErrTokenNotFound)
		return
	}
	e.must(err)
	e.equal("the state of "+value, t.State, want)
}

// stats returns the sizes of the pool.
func (e *env) stats(pool string) tms.Stats {
	e.Helper()
	_, stats, err := e.Pool(e.Context(), pool)
	e.must(err)
	return stats
}

// sweep runs one sweep.
func (e *env) sweep(pool string, limit int) tms.Expired {
	e.Helper()
	done, err := e.Expire(e.Context(), pool, limit)
	e.must(err)
	return done
}

// sweepAll runs sweeps until nothing is due.
func (e *env) sweepAll(pool string) {
	e.Helper()
	for range 100_000 {
		done := e.sweep(pool, 100)
		if done.NextDue.IsZero() || !done.NextDue.Before(done.Now) {
			return
		}
	}
	e.Fatalf("sweeps of pool %s do not come to an end", pool)
}

// list reads all pages.
func (e *env) list(pool string, f tms.Filter, limit int) (tokens []tms.Token) {
	e.Helper()
	cursor := ""
	for range 100_000 {
		page, err := e.Tokens(e.Context(), pool, f, cursor, limit)
		e.must(err)
		if len(page.Tokens) > limit {
			e.Errorf("a page of at most %d tokens holds %d", limit, len(page.Tokens))
		}
		tokens = append(tokens, page.Tokens...)
		if cursor = page.Next; cursor == "" {
			return tokens
		}
	}
	e.Fatalf("the pages of pool %s do not come to an end", pool)
	return nil
}

// must ends the test if err is not nil.
func (e *env) must(err error) {
	e.Helper()
	if err != nil {
		e.Fatalf("unexpected error: %v", err)
	}
}

// refused ends the test if err does not carry the code.
func (e *env) refused(err error, code tms.Code) {
	e.Helper()
	if tms.CodeOf(err) != code {
		e.Fatalf("got error %v, want %s", err, code)
	}
}

// equal ends the test if got is not want. Instants are compared as such, whatever their time zones.
func (e *env) equal(what string, got, want any) {
	e.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		e.Fatalf("%s: want -, got +\n%s", what, diff)
	}
}
