package embedded

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// keys are those that the store keeps, by ID. They are read from the log when they are first asked for.
type keys struct {
	mu  sync.Mutex
	all map[string]tms.StoredKey // nil: not read
}

// PutKey implements [tms.Keyring]. A key is on the disk when it returns, whatever the store syncs else.
func (s *Store) PutKey(_ context.Context, key tms.StoredKey) error {
	return s.withKeys(func(all map[string]tms.StoredKey) error {
		if there, exists := all[key.ID]; exists {
			return rules.MayPutKey(there, key)
		}
		if len(all) >= tms.MaxKeys {
			return rules.TooManyKeys()
		}
		err := s.journal.setKey(key)
		if err == nil {
			all[key.ID] = key
		}
		return err
	})
}

// DeleteKey implements [tms.Keyring].
func (s *Store) DeleteKey(_ context.Context, name, id string) (deleted int, err error) {
	err = s.withKeys(func(all map[string]tms.StoredKey) error {
		var gone []string
		for _, key := range all {
			if key.Name == name && (id == "" || key.ID == id) {
				gone = append(gone, key.ID)
			}
		}
		if err := s.journal.deleteKeys(gone); err != nil {
			return err
		}
		for _, id := range gone {
			delete(all, id)
		}
		deleted = len(gone)
		return nil
	})
	return deleted, err
}

// Keys implements [tms.Keyring].
func (s *Store) Keys(_ context.Context, used map[string]time.Time) (list []tms.StoredKey, err error) {
	err = s.withKeys(func(all map[string]tms.StoredKey) error {
		for id, at := range used {
			key, exists := all[id]
			if !exists || !at.After(key.UsedAt) {
				continue
			}
			key.UsedAt = at
			if err := s.journal.setKey(key); err != nil {
				return err
			}
			all[id] = key
		}
		list = slices.Collect(maps.Values(all))
		rules.SortKeys(list)
		return nil
	})
	return list, err
}

// withKeys calls f with the keys, one caller at a time.
func (s *Store) withKeys(f func(all map[string]tms.StoredKey) error) error {
	if err := s.stopped(); err != nil {
		return err
	}
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	if s.keys.all == nil {
		all, err := s.journal.keys()
		if err != nil {
			return err
		}
		s.keys.all = all
	}
	return f(s.keys.all)
}

func (j *journal) keys() (map[string]tms.StoredKey, error) {
	all := map[string]tms.StoredKey{}
	if j == nil {
		return all, nil
	}
	err := caught(func() error {
		return j.scan(keyPrefix, func(_, value []byte) error {
			key, err := rules.DecodeKey(string(value))
			all[key.ID] = key
			return err
		})
	})
	return all, err
}

func (j *journal) setKey(key tms.StoredKey) error {
	return j.atOnce(func(b *pebble.Batch) error {
		return b.Set(append([]byte{keyPrefix}, key.ID...), []byte(rules.EncodeKey(key)), nil)
	})
}

// deleteKeys deletes all of these keys or none.
func (j *journal) deleteKeys(ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	return j.atOnce(func(b *pebble.Batch) (err error) {
		for _, id := range ids {
			err = errors.Join(err, b.Delete(append([]byte{keyPrefix}, id...), nil))
		}
		return err
	})
}
