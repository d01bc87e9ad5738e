package audit

import (
	"context"
	"time"

	tms "github.com/manankarani/token-manager"
)

// keyring returns the keys of the store within.
func (s *Store) keyring() (tms.Keyring, error) {
	if ring, ok := s.store.(tms.Keyring); ok {
		return ring, nil
	}
	return nil, tms.ErrNotFound
}

// PutKey implements [tms.Keyring].
func (s *Store) PutKey(ctx context.Context, key tms.StoredKey) error {
	ring, err := s.keyring()
	if err != nil {
		return err
	}
	c := s.begin(ctx, "put_key", "")
	c.Name, c.KeyID = key.Name, key.ID
	if err := c.intend(ctx); err != nil {
		return err
	}
	err = ring.PutKey(ctx, key)
	c.end(err)
	return err
}

// DeleteKey implements [tms.Keyring]. It writes how many keys there were.
func (s *Store) DeleteKey(ctx context.Context, name, id string) (int, error) {
	ring, err := s.keyring()
	if err != nil {
		return 0, err
	}
	c := s.begin(ctx, "delete_key", "")
	c.Name, c.KeyID = name, id
	if err := c.intend(ctx); err != nil {
		return 0, err
	}
	deleted, err := ring.DeleteKey(ctx, name, id)
	c.Count = deleted
	c.end(err)
	return deleted, err
}

// Keys implements [tms.Keyring].
func (s *Store) Keys(ctx context.Context, used map[string]time.Time) ([]tms.StoredKey, error) {
	ring, err := s.keyring()
	if err != nil {
		return nil, err
	}
	list, err := ring.Keys(ctx, used)
	return list, s.denied(ctx, "keys", "", err)
}
