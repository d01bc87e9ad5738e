package limit

import (
	"context"
	"time"

	tms "github.com/manankarani/token-manager"
)

// keyring returns the keys of the store within, for one call.
func (s *Store) keyring(ctx context.Context) (tms.Keyring, error) {
	ring, ok := s.Store.(tms.Keyring)
	if !ok {
		return nil, tms.Refuse(tms.ErrNotFound, "the server asks nobody for a key")
	}
	return ring, s.charge(ctx, 0)
}

// PutKey implements [tms.Keyring].
func (s *Store) PutKey(ctx context.Context, key tms.StoredKey) error {
	ring, err := s.keyring(ctx)
	if err != nil {
		return err
	}
	return ring.PutKey(ctx, key)
}

// DeleteKey implements [tms.Keyring].
func (s *Store) DeleteKey(ctx context.Context, name, id string) (int, error) {
	ring, err := s.keyring(ctx)
	if err != nil {
		return 0, err
	}
	return ring.DeleteKey(ctx, name, id)
}

// Keys implements [tms.Keyring].
func (s *Store) Keys(ctx context.Context, used map[string]time.Time) ([]tms.StoredKey, error) {
	ring, err := s.keyring(ctx)
	if err != nil {
		return nil, err
	}
	return ring.Keys(ctx, used)
}
