package embedded

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/storetest"
)

// Keys are kept in memory as on disk.
func TestKeysAreKept(t *testing.T) {
	for name, dir := range map[string]bool{"memory": false, "disk": true} {
		t.Run(name, func(t *testing.T) {
			storetest.RunKeyring(t, func(t *testing.T) [2]tms.Keyring {
				o := Options{}
				if dir {
					o.Dir = t.TempDir()
				}
				s := open(t, o)
				return [2]tms.Keyring{s, s}
			})
		})
	}
}

// A key outlives the store, in all its parts; one that was deleted stays so.
func TestKeysOutliveTheStore(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	key := tms.StoredKey{Name: "a", ID: "00000001", Hash: "h", May: []tms.Grant{{Right: tms.Hold, Pools: "*"}},
		Expires: time.Unix(2_000_000_000, 0).UTC(), MadeAt: time.Unix(1_000_000_000, 0).UTC()}
	gone := key
	gone.ID = "00000002"
	if err := errors.Join(s.PutKey(t.Context(), gone), s.PutKey(t.Context(), key)); err != nil {
		t.Fatal(err)
	}
	if n, err := s.DeleteKey(t.Context(), "a", gone.ID); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	key.UsedAt = time.Unix(1_500_000_000, 0).UTC()
	if _, err := s.Keys(t.Context(), map[string]time.Time{key.ID: key.UsedAt}); err != nil {
		t.Fatal(err)
	}
	s = reopened(t, s, o)
	defer s.Close()
	list, err := s.Keys(t.Context(), nil)
	if diff := cmp.Diff([]tms.StoredKey{key}, list); diff != "" || err != nil {
		t.Errorf("error %v\n%s", err, diff)
	}
}
