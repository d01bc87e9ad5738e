package node

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
)

// Who may only watch sees each token once, under a mask that stays, and nothing of its value or its metadata, nor in
// a cursor, which counts in no other pool.
func TestWhoWatchesSeesMasks(t *testing.T) { onEachStore(t, whoWatchesSeesMasks) }

func whoWatchesSeesMasks(t *testing.T, g *guarded) {
	ctx, pool := t.Context(), "p"
	g.admit("eye", time.Time{}, "watch")
	g.admit("boss", time.Time{}, "all")
	for _, name := range []string{pool, "q"} {
		_, err := g.Store().PutPool(ctx, name, tms.PolicyChange{})
		g.must(err)
	}
	var made []tms.NewToken
	for i := range 7 {
		made = append(made, tms.NewToken{Value: fmt.Sprint("secret-", i), Metadata: map[string]string{"pin": "secret"}})
	}
	_, err := g.Store().Generate(ctx, pool, tms.GenerateRequest{Tokens: made})
	g.must(err)
	_, err = g.as("boss").Assign(ctx, pool, []tms.AssignRequest{{ClientID: "c"}})
	g.must(err)
	masks := g.listed("eye", pool)
	once, again := slices.Sorted(maps.Keys(masks)), slices.Sorted(maps.Keys(g.listed("eye", pool)))
	if len(once) != 7 || !slices.Equal(once, again) {
		t.Errorf("the masks are %v, then %v", once, again)
	}
	if values := g.listed("boss", pool); values["secret-0"].Metadata["pin"] != "secret" || len(values) != 7 {
		t.Errorf("who runs the pool sees %+v", values)
	}
	for mask, token := range masks {
		if !token.Masked || token.Metadata != nil || strings.Contains(mask, "secret") {
			t.Errorf("who watches sees %+v", token)
		}
	}
	page, err := g.as("eye").Tokens(ctx, pool, tms.Filter{ClientID: "boss/c"}, "", 10)
	if err != nil || len(page.Tokens) != 1 || page.Tokens[0].Lease.Holder != "boss" {
		t.Errorf("of another's client it sees %+v, error %v", page, err)
	}
	found, err := g.as("eye").Token(ctx, pool, tms.LeaseKey{Token: "secret-0"})
	if err != nil || found.Value != "secret-0" || found.Metadata != nil {
		t.Errorf("of a token that it knows it sees %+v, error %v", found, err)
	}
}

// listed returns the tokens of the pool as the key sees them, by value, out of pages of two.
func (g *guarded) listed(name, pool string) map[string]tms.Token {
	g.Helper()
	all, cursor := map[string]tms.Token{}, ""
	for {
		page, err := g.as(name).Tokens(g.Context(), pool, tms.Filter{}, cursor, 2)
		g.must(err)
		for _, token := range page.Tokens {
			all[token.Value] = token
		}
		if cursor = page.Next; cursor == "" {
			return all
		}
		if raw, _ := base64.RawURLEncoding.DecodeString(cursor); strings.Contains(string(raw), "secret") {
			g.Errorf("the cursor tells %q", raw)
		}
		for other, of := range map[string]string{"q": cursor, pool: cursor[1:]} {
			_, err := g.as(name).Tokens(g.Context(), other, tms.Filter{}, of, 2)
			if tms.CodeOf(err) != tms.ErrInvalidRequest {
				g.Errorf("the cursor %s in %s: %v", of, other, err)
			}
		}
	}
}
