package access

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	tms "github.com/manankarani/token-manager"
)

const (
	readAgainAfter = 2 * time.Second // how often the keys of the store are read

	// trustedFor is how long the keys that were read last count, so that no key that was deleted counts for longer.
	trustedFor = 5 * time.Second

	tellUsesAfter = time.Minute // how often the store is told which keys were used
)

// stored are the keys of a store, as a keyring knows them. The zero value has no store.
type stored struct {
	from tms.Keyring
	read atomic.Pointer[storedKeys]

	reading sync.Mutex // orders what follows
	uses    map[string]*atomic.Int64
	told    time.Time // when the store was told of uses
}

// storedKeys are the keys of a store at an instant.
type storedKeys struct {
	byHash map[Hash]*Key
	asked  time.Time // when the store was asked for them
}

// Keep has the keyring know the keys of a store, too, once it has read them. It is called before the keyring is used.
func (r *Keyring) Keep(from tms.Keyring) { r.stored.from = from }

// Follow reads the keys of the store again and again until ctx ends, so that a key that is made or deleted on another
// server is known for that within 5 s. While they cannot be read, the last ones count for no longer than that.
func (r *Keyring) Follow(ctx context.Context, logger *slog.Logger) {
	if r.stored.from == nil {
		return
	}
	said := ""
	for ctx.Err() == nil {
		if err := r.Read(ctx); err == nil {
			said = ""
		} else if ctx.Err() == nil && err.Error() != said {
			said = err.Error()
			logger.Warn("the keys in the store cannot be read, and do not count until they can", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(readAgainAfter):
		}
	}
}

// Read reads the keys of the store once, and tells it now and then which of them were used.
func (r *Keyring) Read(ctx context.Context) error {
	s := &r.stored
	if s.from == nil {
		return nil
	}
	s.reading.Lock()
	defer s.reading.Unlock()
	asked := time.Now()
	used := s.used(asked)
	list, err := s.from.Keys(ctx, used)
	if err != nil && len(used) > 0 { // a store that takes no writes is read all the same
		asked = time.Now()
		list, err = s.from.Keys(ctx, nil)
	}
	if err != nil {
		return err
	}
	s.set(list, asked)
	return nil
}

// used returns the keys that were used since the store was last told, by ID, when it is to be told again.
func (s *stored) used(now time.Time) map[string]time.Time {
	if now.Sub(s.told) < tellUsesAfter {
		return nil
	}
	used := map[string]time.Time{}
	for id, at := range s.uses {
		if at := at.Load(); at >= s.told.UnixMilli() {
			used[id] = time.UnixMilli(at)
		}
	}
	s.told = now
	return used
}

// set puts the keys in the place of those before. One whose hash cannot be read is left out: nobody can have it.
func (s *stored) set(list []tms.StoredKey, asked time.Time) {
	keys, uses := map[Hash]*Key{}, map[string]*atomic.Int64{}
	for _, one := range list {
		hash, err := ParseHash(one.Hash)
		if err != nil {
			continue
		}
		use := s.uses[one.ID]
		if use == nil {
			use = new(atomic.Int64)
		}
		uses[one.ID] = use
		keys[hash] = &Key{Name: one.Name, Hash: hash, May: one.May, Expires: one.Expires, used: use}
	}
	s.uses = uses
	s.read.Store(&storedKeys{keys, asked})
}

// find returns the key of the hash; nil: the store has none. It is refused with [tms.ErrStoreUnavailable] while nobody
// knows whether it has.
func (s *stored) find(hash Hash) (*Key, error) {
	if s.from == nil {
		return nil, nil
	}
	read := s.read.Load()
	if read == nil || time.Since(read.asked) > trustedFor {
		return nil, tms.Refuse(tms.ErrStoreUnavailable, "the keys in the store cannot be read, and this may be one")
	}
	key := read.byHash[hash]
	if key != nil {
		key.use()
	}
	return key, nil
}

// use remembers that the key was used, to the second: the memory is one for all processors.
func (k *Key) use() {
	if now := time.Now().UnixMilli(); now-k.used.Load() >= 1_000 {
		k.used.Store(now)
	}
}

// kept returns the store's keys, for a caller who may run all pools.
func (s *Store) kept(ctx context.Context) (tms.Keyring, error) {
	if err := s.ring.Everywhere(ctx, tms.Run); err != nil {
		return nil, err
	}
	if s.ring.stored.from == nil {
		return nil, tms.Refuse(tms.ErrNotFound, "the store of this server keeps no keys")
	}
	return s.ring.stored.from, nil
}

// PutKey implements [tms.Keyring]. It is for who runs all pools. The key counts here at once.
func (s *Store) PutKey(ctx context.Context, key tms.StoredKey) error {
	kept, err := s.kept(ctx)
	if err != nil {
		return err
	}
	key.MadeAt, key.UsedAt = s.ring.now().UTC().Truncate(time.Millisecond), time.Time{}
	if err := kept.PutKey(ctx, key); err != nil {
		return err
	}
	s.ring.Read(ctx) // or else within two seconds
	return nil
}

// DeleteKey implements [tms.Keyring]. It is for who runs all pools. The key counts no more: here at once, and
// nowhere within 5 s.
func (s *Store) DeleteKey(ctx context.Context, name, id string) (int, error) {
	kept, err := s.kept(ctx)
	if err != nil {
		return 0, err
	}
	deleted, err := kept.DeleteKey(ctx, name, id)
	if err == nil {
		s.ring.Read(ctx)
	}
	return deleted, err
}

// Keys implements [tms.Keyring]. It is for who runs all pools, and returns those of the configuration, too, which have
// no ID.
func (s *Store) Keys(ctx context.Context, _ map[string]time.Time) ([]tms.StoredKey, error) {
	kept, err := s.kept(ctx)
	if err != nil {
		return nil, err
	}
	list, err := kept.Keys(ctx, nil)
	return append(s.ring.configured(), list...), err
}
