package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	tms "github.com/manankarani/token-manager"
)

// RunKeyring holds that a store keeps keys as [tms.Keyring] says. Open returns two views of one new store, which may be
// the same.
func RunKeyring(t *testing.T, open func(t *testing.T) [2]tms.Keyring) {
	for name, rule := range map[string]func(t *testing.T, views [2]tms.Keyring){
		"a key is there for every server, in the order of names":      keysAreListed,
		"a name may have two keys, and one of them is deleted by ID":  keysOfOneName,
		"no two keys have one ID, however they race":                  keysRace,
		"when a key was used is remembered, the latest, and goes too": keysAreUsed,
		"there is room for so many keys and no more":                  keysAreBounded,
	} {
		t.Run(name, func(t *testing.T) { rule(t, open(t)) })
	}
}

func storedKey(n int, name string) tms.StoredKey {
	return tms.StoredKey{Name: name, ID: fmt.Sprintf("%08d", n), Hash: fmt.Sprintf("sha256:%064x", n),
		May:     []tms.Grant{{Right: tms.Hold, Pools: "ci-*"}, {Right: tms.Watch, Pools: "*"}},
		Expires: time.Unix(2_000_000_000, 0).UTC(), MadeAt: time.Unix(1_000_000_000+int64(n), 0).UTC()}
}

func putKeys(t *testing.T, ring tms.Keyring, keys ...tms.StoredKey) {
	t.Helper()
	for _, key := range keys {
		if err := ring.PutKey(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
}

// hasKeys ends the test unless both views hold these keys.
func hasKeys(t *testing.T, views [2]tms.Keyring, want ...tms.StoredKey) {
	t.Helper()
	for i, ring := range views {
		got, err := ring.Keys(t.Context(), nil)
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" || err != nil {
			t.Fatalf("view %d has other keys, error %v:\n%s", i, err, diff)
		}
	}
}

func deleteKeys(t *testing.T, ring tms.Keyring, name, id string, want int) {
	t.Helper()
	if n, err := ring.DeleteKey(t.Context(), name, id); n != want || err != nil {
		t.Fatalf("%d keys of %s %s were deleted, want %d, error %v", n, name, id, want, err)
	}
}

func keysAreListed(t *testing.T, views [2]tms.Keyring) {
	hasKeys(t, views)
	forever := storedKey(3, "b")
	forever.Expires = time.Time{}
	putKeys(t, views[0], storedKey(1, "c"), storedKey(2, "a"), forever)
	hasKeys(t, views, storedKey(2, "a"), forever, storedKey(1, "c"))
	deleteKeys(t, views[1], "nobody", "", 0)
	deleteKeys(t, views[1], "a", "", 1)
	deleteKeys(t, views[1], "a", "", 0)
	hasKeys(t, views, forever, storedKey(1, "c"))
}

func keysOfOneName(t *testing.T, views [2]tms.Keyring) {
	putKeys(t, views[0], storedKey(2, "a"), storedKey(1, "a"), storedKey(3, "a"), storedKey(4, "b"))
	hasKeys(t, views, storedKey(1, "a"), storedKey(2, "a"), storedKey(3, "a"), storedKey(4, "b"))
	deleteKeys(t, views[0], "a", storedKey(4, "").ID, 0) // which is another's
	deleteKeys(t, views[0], "a", storedKey(2, "").ID, 1)
	hasKeys(t, views, storedKey(1, "a"), storedKey(3, "a"), storedKey(4, "b"))
	deleteKeys(t, views[1], "a", "", 2)
	hasKeys(t, views, storedKey(4, "b"))
}

func keysRace(t *testing.T, views [2]tms.Keyring) {
	var puts sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		key := storedKey(i, fmt.Sprint("k", i))
		key.ID = "00000001"
		puts.Go(func() { errs[i] = views[i%2].PutKey(t.Context(), key) })
	}
	puts.Wait()
	kept := 0
	for _, err := range errs {
		if err == nil {
			kept++
		} else if tms.CodeOf(err) != tms.ErrInvalidRequest {
			t.Errorf("got error %v", err)
		}
	}
	for i := range errs {
		again := storedKey(i, fmt.Sprint("k", i))
		again.ID = "00000001"
		if err := views[0].PutKey(t.Context(), again); (err == nil) != (errs[i] == nil) {
			t.Errorf("put again: %v, and at first %v", err, errs[i])
		}
	}
	if list, err := views[0].Keys(t.Context(), nil); kept != 1 || len(list) != 1 || err != nil {
		t.Errorf("%d keys were kept, and %d are there, error %v", kept, len(list), err)
	}
}

func keysAreUsed(t *testing.T, views [2]tms.Keyring) {
	key, at := storedKey(1, "a"), time.Unix(1_500_000_000, 0).UTC()
	putKeys(t, views[0], key)
	used := func(id string, at time.Time) {
		if _, err := views[1].Keys(t.Context(), map[string]time.Time{id: at}); err != nil {
			t.Fatal(err)
		}
	}
	used(key.ID, at)
	used(key.ID, at.Add(-time.Hour))
	used("00000009", at) // which is gone
	key.UsedAt = at
	hasKeys(t, views, key)
	deleteKeys(t, views[0], "a", "", 1)
	hasKeys(t, views)
	putKeys(t, views[0], storedKey(1, "a"))
	hasKeys(t, views, storedKey(1, "a"))
}

func keysAreBounded(t *testing.T, views [2]tms.Keyring) {
	for i := range tms.MaxKeys {
		putKeys(t, views[i%2], storedKey(i, "a"))
	}
	if err := views[0].PutKey(t.Context(), storedKey(tms.MaxKeys, "b")); tms.CodeOf(err) != tms.ErrInvalidRequest {
		t.Errorf("one more: %v", err)
	}
	deleteKeys(t, views[0], "a", storedKey(7, "").ID, 1)
	putKeys(t, views[1], storedKey(tms.MaxKeys, "b"))
	deleteKeys(t, views[1], "a", "", tms.MaxKeys-1)
	hasKeys(t, views, storedKey(tms.MaxKeys, "b"))
}
