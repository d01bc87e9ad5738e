package redis

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
)

// InstallationKey implements [tms.Keyed]. A failover that loses it has another one drawn.
func (s *Store) InstallationKey(ctx context.Context) (key [32]byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.link.timeout)
	defer cancel()
	client, err := s.link.connected(ctx)
	if err != nil {
		return key, outcome(err)
	}
	rand.Read(key[:])
	text, err := s.first(ctx, client, secretKey, hex.EncodeToString(key[:]))
	if err != nil {
		return [32]byte{}, outcome(err)
	}
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(key) {
		return [32]byte{}, fmt.Errorf("redis: the key %s holds no secret of an installation", secretKey)
	}
	return [32]byte(raw), nil
}
