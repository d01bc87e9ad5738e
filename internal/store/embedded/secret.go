package embedded

import (
	"context"
	"crypto/rand"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// secret is that of the installation. Its zero value has not been looked for.
type secret struct {
	mu  sync.Mutex
	key [32]byte
}

// InstallationKey implements [tms.Keyed]. A store in memory has one for as long as it lives.
func (s *Store) InstallationKey(context.Context) ([32]byte, error) {
	s.secret.mu.Lock()
	defer s.secret.mu.Unlock()
	if s.secret.key != ([32]byte{}) {
		return s.secret.key, nil
	}
	key, err := s.journal.secret()
	if err == nil {
		s.secret.key = key
	}
	return key, err
}

// secret returns the secret of the log, which it draws where there is none.
func (j *journal) secret() (key [32]byte, err error) {
	if j == nil {
		rand.Read(key[:])
		return key, nil
	}
	raw, err := j.get(secretKey)
	if err != nil {
		return key, err
	}
	if len(raw) == len(key) {
		return [32]byte(raw), nil
	}
	rand.Read(key[:])
	return key, j.atOnce(func(b *pebble.Batch) error { return b.Set(secretKey, key[:], nil) })
}
