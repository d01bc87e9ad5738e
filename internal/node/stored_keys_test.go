package node

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/access"
	"github.com/manankarani/token-manager/internal/store/redis"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

// keep puts a new key into the store, as boss.
func (g *guarded) keep(name string, may ...tms.Grant) tms.StoredKey {
	g.Helper()
	text := access.NewKey()
	key := tms.StoredKey{Name: name, ID: access.IDOf(text), Hash: access.HashOf(text).String(), May: may}
	g.must(g.as("boss").PutKey(g.Context(), key))
	g.keys[name] = text
	return key
}

func (g *guarded) whoami(name string) error {
	_, err := g.as(name).Whoami(g.Context())
	return err
}

// A key in the store counts at once, does what it may and nothing else, is listed, and counts no more when it was
// removed.
func TestKeysInTheStore(t *testing.T) { onEachStore(t, keysInTheStore) }

func keysInTheStore(t *testing.T, g *guarded) {
	ctx := t.Context()
	g.admit("boss", time.Time{}, "all")
	pool, _ := g.stock()
	first := g.keep("ci", tms.Grant{Right: tms.Hold, Pools: "p-*"})
	old := g.keys["ci"]
	g.keep("ci", tms.Grant{Right: tms.Hold, Pools: "p-*"}) // a second one of that name
	who, err := g.as("ci").Whoami(ctx)
	if err != nil || who.Key != "ci" || len(who.May) != 1 || who.May[0].String() != "hold@p-*" {
		t.Fatalf("it is %+v, error %v", who, err)
	}
	taken, err := g.as("ci").Assign(ctx, pool, []tms.AssignRequest{{}})
	g.must(errors.Join(err, taken[0].Err))
	if holder := taken[0].Tokens[0].Lease.Holder; holder != "ci" {
		t.Errorf("the holder is %q", holder)
	}
	if _, err := g.as("ci").Keys(ctx, nil); !errors.Is(err, tms.ErrNotPermitted) {
		t.Errorf("it lists the keys: %v", err)
	}
	list, err := g.as("boss").Keys(ctx, nil)
	at := slices.IndexFunc(list, func(k tms.StoredKey) bool { return k.ID == first.ID })
	if err != nil || len(list) != 3 || list[0].Name != "boss" || list[0].ID != "" || at < 1 ||
		list[at].MadeAt.IsZero() || list[at].Hash != "" {
		t.Errorf("the keys are %+v, error %v", list, err)
	}
	if n, err := g.as("boss").DeleteKey(ctx, "ci", first.ID); n != 1 || err != nil {
		t.Errorf("%d keys were removed, error %v", n, err)
	}
	g.must(g.whoami("ci"))
	g.keys["old"] = old
	if err := g.whoami("old"); !errors.Is(err, tms.ErrUnauthenticated) {
		t.Errorf("one that was removed: %v", err)
	}
	if n, err := g.as("boss").DeleteKey(ctx, "boss", ""); n != 0 || err != nil {
		t.Errorf("%d keys of the configuration were removed, error %v", n, err)
	}
	for _, line := range []string{"a key was made", "keys were deleted"} {
		if !strings.Contains(g.log.String(), line) || strings.Contains(g.log.String(), old) {
			t.Errorf("the log has not %q, or the key", line)
		}
	}
}

// Whoever waits with a key that is removed from the store gets nothing, and what it would have been given is free.
func TestAStoredKeyEndsDuringAWait(t *testing.T) { onEachStore(t, aStoredKeyEndsDuringAWait) }

func aStoredKeyEndsDuringAWait(t *testing.T, g *guarded) {
	g.admit("boss", time.Time{}, "all")
	g.keep("short", tms.Grant{Right: tms.Hold, Pools: "*"})
	endsDuringAWait(t, g, func() {
		_, err := g.as("boss").DeleteKey(t.Context(), "short", "")
		g.must(err)
	})
}

// What one server makes and removes, the others know soon.
func TestServersShareKeys(t *testing.T) {
	server := redistest.New(t)
	one := func() *guarded {
		opened, err := redis.Open(redis.Options{URL: server.URL()})
		if err != nil {
			t.Fatal(err)
		}
		g := serveStore(t, opened, true)
		g.admit("boss", time.Time{}, "all")
		return g
	}
	here, there := one(), one()
	here.keep("ci", tms.Grant{Right: tms.Watch, Pools: "*"})
	there.keys["ci"] = here.keys["ci"]
	waitUntil(t, func() bool { return there.whoami("ci") == nil })
	_, err := here.as("boss").DeleteKey(t.Context(), "ci", "")
	here.must(err)
	waitUntil(t, func() bool { return errors.Is(there.whoami("ci"), tms.ErrUnauthenticated) })
	if _, err := there.as("boss").Keys(t.Context(), nil); err != nil {
		t.Error(err)
	}
}
