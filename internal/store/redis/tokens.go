package redis

import (
	"context"
	"slices"
	"strconv"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// Token implements [tms.Store].
func (s *Store) Token(ctx context.Context, pool string, key tms.LeaseKey) (tms.Token, error) {
	args := []string{key.Token, key.LeaseID}
	if key.History {
		args = append(args, "1")
	}
	a, err := s.call(ctx, pool, fnToken, args...)
	if err != nil {
		return tms.Token{}, err
	}
	policy := a.policy()
	r, token := a.recollected(pool, key.Token, policy)
	if key.History {
		token = r.WithHistory(token, policy)
	}
	return token, a.failure()
}

// recollected reads a token with its past.
func (a *answer) recollected(pool, value string, policy rules.Terms) (rules.Record, tms.Token) {
	r := a.record()
	return r, r.WithPast(r.Token(pool, value, policy, a.now, false))
}

// Tokens implements [tms.Store]. A page looks at no more than 1,000 tokens.
func (s *Store) Tokens(ctx context.Context, pool string, f tms.Filter, cursor string, limit int) (tms.Page, error) {
	from, err := rules.ParseCursor(pool, cursor)
	if err != nil {
		return tms.Page{}, err
	}
	a, err := s.repeat(ctx, pool, fnTokens, pageArgs(f, from, limit)...)
	if err != nil {
		return tms.Page{}, err
	}
	return a.page(pool)
}

// pageArgs returns what a listing is to be told: the place of the cursor counts in the first of the states, if that is
// the cursor's.
func pageArgs(f tms.Filter, from rules.Cursor, limit int) []string {
	states := rules.Listed(f, from)
	args := []string{strconv.Itoa(min(limit, maxStep)), f.ClientID, "", ""}
	if len(states) > 0 && states[0] == from.State {
		args[2], args[3] = strconv.FormatInt(from.At, 10), from.Value
	}
	for _, state := range states {
		args = append(args, strconv.Itoa(slices.Index(rules.States, state)+1))
	}
	return args
}

func (a *answer) page(pool string) (page tms.Page, err error) {
	policy, more := a.policy(), a.int()
	last := rules.Cursor{Pool: pool}
	if state := a.int(); state > 0 && int(state) <= len(rules.States) {
		last.State = rules.States[state-1]
	}
	last.At, last.Value = a.int(), a.text()
	for a.more() {
		value := a.text()
		_, token := a.recollected(pool, value, policy)
		page.Tokens = append(page.Tokens, token)
	}
	if more > 0 {
		page.Next = last.String()
	}
	return page, a.failure()
}
