package embedded

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
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

// What was answered of keys, and the secret of the installation, outlive the machine, however the store syncs.
func TestKeysOutliveTheMachine(t *testing.T) {
	real := diskFS
	defer func() { diskFS = real }()
	for mode, interval := range modesOfSync {
		t.Run(mode, func(t *testing.T) {
			o := Options{Dir: t.TempDir(), SyncInterval: interval}
			disk := newFrailDisk(t, o.Dir, nil)
			diskFS = disk
			s, err := Open(o)
			if err != nil {
				t.Fatal(err)
			}
			secret, err := s.InstallationKey(t.Context())
			kept, gone := tms.StoredKey{Name: "a", ID: "00000001"}, tms.StoredKey{Name: "b", ID: "00000002"}
			err = errors.Join(err, s.PutKey(t.Context(), kept), s.PutKey(t.Context(), gone))
			_, deleted := s.DeleteKey(t.Context(), "b", "")
			if err := errors.Join(err, deleted); err != nil {
				t.Fatal(err)
			}
			left := remains{}.of(t, disk, o.Dir, 1)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			diskFS = newFrailDisk(t, o.Dir, left)
			again := open(t, o)
			list, err := again.Keys(t.Context(), nil)
			if err != nil || len(list) != 1 || list[0].ID != kept.ID {
				t.Errorf("the keys are %+v, error %v", list, err)
			}
			if found, err := again.InstallationKey(t.Context()); found != secret || err != nil {
				t.Errorf("the secret is another one, error %v", err)
			}
		})
	}
}

// A key that cannot be written is not answered as if it was.
func TestAKeyThatCannotBeWritten(t *testing.T) {
	real := diskFS
	defer func() { diskFS = real }()
	for name, ask := range map[string]func(s *Store) error{
		"put": func(s *Store) error {
			return s.PutKey(t.Context(), tms.StoredKey{Name: "b", ID: "00000002"})
		},
		"delete": func(s *Store) error {
			_, err := s.DeleteKey(t.Context(), "a", "")
			return err
		},
		"secret": func(s *Store) error {
			_, err := s.InstallationKey(t.Context())
			return err
		},
	} {
		for how, fails := range map[string]func(errorfs.Op) error{"full": full, "broken": broken} {
			o := Options{Dir: t.TempDir()}
			disk, failing := newFrailDisk(t, o.Dir, nil), atomic.Bool{}
			disk.fails = func(op errorfs.Op) error {
				if failing.Load() {
					return fails(op)
				}
				return nil
			}
			diskFS = disk
			s, err := Open(o)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.PutKey(t.Context(), tms.StoredKey{Name: "a", ID: "00000001"}); err != nil {
				t.Fatal(err)
			}
			failing.Store(true)
			if err := ask(s); err == nil || tms.CodeOf(err) != "" {
				t.Errorf("%s, %s: %v", name, how, err)
			}
			s.Close()
		}
	}
}
