package access

import (
	"context"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/secret"
)

// Token implements [tms.Store]. With the LeaseID it is for who holds the token, and without for who watches the pool; a
// history, which tells of others, is for who watches only. Who only watches is not shown the token's metadata.
func (s *Store) Token(ctx context.Context, pool string, key tms.LeaseKey) (tms.Token, error) {
	right := tms.Watch
	if key.LeaseID != "" && !key.History {
		right = tms.Hold
	}
	caller, err := permit(ctx, pool, right)
	if err != nil {
		return tms.Token{}, err
	}
	token, err := s.store.Token(ctx, pool, key)
	if right == tms.Watch && !caller.may(tms.Run, pool) {
		token.Metadata = nil
	}
	return token, err
}

// Tokens implements [tms.Store]. Who only watches is shown masks in the place of tokens. Nobody can read the cursors.
func (s *Store) Tokens(ctx context.Context, pool string, f tms.Filter, cursor string, limit int) (tms.Page, error) {
	caller, err := permit(ctx, pool, tms.Watch)
	if err != nil {
		return tms.Page{}, err
	}
	key, err := s.keys(ctx)
	if err != nil {
		return tms.Page{}, err
	}
	if cursor, err = open(key, pool, cursor); err != nil {
		return tms.Page{}, err
	}
	if f.ClientID != "" {
		f.ClientID = caller.client(tms.Watch, pool, f.ClientID)
	}
	page, err := s.store.Tokens(ctx, pool, f, cursor, limit)
	if page.Next != "" {
		page.Next = key.Seal(cursorOf(pool), page.Next)
	}
	if !caller.may(tms.Run, pool) {
		mask(key, page.Tokens)
	}
	return page, err
}

// Waiters implements [tms.Store]. What they match, which is metadata, is for who runs the pool.
func (s *Store) Waiters(ctx context.Context, pool string, limit int) ([]tms.Waiter, error) {
	caller, err := permit(ctx, pool, tms.Watch)
	if err != nil {
		return nil, err
	}
	all, err := s.store.Waiters(ctx, pool, limit)
	if !caller.may(tms.Run, pool) {
		for i := range all {
			all[i].Match = nil
		}
	}
	return all, err
}

// mask takes out of tokens what only their holders, and who runs the pool, may know.
func mask(key secret.Key, tokens []tms.Token) {
	for i := range tokens {
		t := &tokens[i]
		t.Value, t.Masked, t.Metadata = key.Token(t.Pool, t.Value), true, nil
	}
}

func open(key secret.Key, pool, cursor string) (string, error) {
	if cursor == "" {
		return "", nil
	}
	cursor, err := key.Open(cursorOf(pool), cursor)
	if err != nil {
		return "", tms.Invalid("cursor", "is none that a listing of this pool gave")
	}
	return cursor, nil
}

// cursorOf is what the cursors of a pool are about: they hold tokens.
func cursorOf(pool string) string { return "cursor of " + pool }
