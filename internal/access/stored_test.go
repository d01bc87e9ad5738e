package access

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	tms "github.com/manankarani/token-manager"
)

// shelf is a store of keys that can be away, and that other servers change.
type shelf struct {
	mu   sync.Mutex
	list []tms.StoredKey
	used map[string]time.Time
	away error
	full error // it can be read, and not written
}

func (s *shelf) PutKey(_ context.Context, key tms.StoredKey) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, key)
	return nil
}

func (s *shelf) DeleteKey(context.Context, string, string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = nil
	return 1, nil
}

func (s *shelf) Keys(_ context.Context, used map[string]time.Time) ([]tms.StoredKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(used) > 0 && s.full != nil {
		return nil, s.full
	}
	for id, at := range used {
		s.used[id] = at
	}
	return s.list, s.away
}

func (s *shelf) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// following runs a test of a keyring that follows a shelf, with a key on it.
func following(t *testing.T, test func(t *testing.T, r *Keyring, s *shelf, key string)) {
	synctest.Test(t, func(t *testing.T) {
		s, r, key := &shelf{used: map[string]time.Time{}}, NewKeyring(nil), NewKey()
		s.PutKey(t.Context(), tms.StoredKey{Name: "a", ID: IDOf(key), Hash: HashOf(key).String()})
		r.Keep(s)
		ctx, cancel := context.WithCancel(t.Context())
		go r.Follow(ctx, slog.New(slog.DiscardHandler))
		defer cancel()
		synctest.Wait()
		test(t, r, s, key)
	})
}

func enters(t *testing.T, r *Keyring, key string) error {
	_, err := r.Enter(t.Context(), []string{"Bearer " + key}, nil)
	return err
}

// A key that was deleted on another server, or made there, is known for that within 5 s.
func TestKeysOfTheStoreAreFollowed(t *testing.T) {
	following(t, func(t *testing.T, r *Keyring, s *shelf, key string) {
		if err := enters(t, r, key); err != nil {
			t.Fatal(err)
		}
		other := NewKey()
		s.set(func() { s.list = []tms.StoredKey{{Name: "b", ID: IDOf(other), Hash: HashOf(other).String()}} })
		time.Sleep(trustedFor)
		if err := enters(t, r, key); !errors.Is(err, tms.ErrUnauthenticated) {
			t.Errorf("a key that was deleted: %v", err)
		}
		if err := enters(t, r, other); err != nil {
			t.Errorf("a key that was made: %v", err)
		}
	})
}

// While the keys cannot be read they count for 5 s, and then nobody knows who is there, until they can be read again.
// Keys of the configuration count all the time.
func TestKeysThatCannotBeRead(t *testing.T) {
	following(t, func(t *testing.T, r *Keyring, s *shelf, key string) {
		own := NewKey()
		r.Set([]Key{{Name: "own", Hash: HashOf(own)}})
		s.set(func() { s.away = errors.New("away") })
		time.Sleep(readAgainAfter)
		if err := enters(t, r, key); err != nil {
			t.Errorf("a key that was read just now: %v", err)
		}
		time.Sleep(trustedFor)
		for what, text := range map[string]string{"a key": key, "a key that is none": NewKey()} {
			if err := enters(t, r, text); !errors.Is(err, tms.ErrStoreUnavailable) {
				t.Errorf("%s, while none can be read: %v", what, err)
			}
		}
		if err := enters(t, r, own); err != nil {
			t.Errorf("a key of the configuration: %v", err)
		}
		s.set(func() { s.away = nil })
		time.Sleep(readAgainAfter)
		if err := enters(t, r, key); err != nil {
			t.Errorf("a key that can be read again: %v", err)
		}
	})
}

// The store is told when a key was used, within a minute or so, and read all the same where it takes no writes.
func TestTheStoreIsToldOfUses(t *testing.T) {
	following(t, func(t *testing.T, r *Keyring, s *shelf, key string) {
		told := func() time.Time {
			time.Sleep(tellUsesAfter + readAgainAfter)
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.used[IDOf(key)]
		}
		if at := told(); !at.IsZero() {
			t.Errorf("a key that nobody used was used at %v", at)
		}
		used := time.Now()
		enters(t, r, key)
		if at := told(); at.Sub(used).Abs() > time.Second {
			t.Errorf("a key that was used at %v was used at %v", used, at)
		}
		s.set(func() { s.full = errors.New("full") })
		enters(t, r, key)
		told()
		if err := enters(t, r, key); err != nil {
			t.Errorf("where the store takes no writes: %v", err)
		}
	})
}
