package redis

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// keyring is the hash with the keys that servers ask callers for. It lies in a slot of its own.
const keyring = "tms:keys"

// PutKey implements [tms.Keyring].
func (s *Store) PutKey(ctx context.Context, key tms.StoredKey) error {
	m, err := s.onKeyring(ctx, fnPutKey, key.ID, rules.EncodeKey(key), strconv.Itoa(tms.MaxKeys), key.Hash)
	if err != nil {
		return err
	}
	switch said, err := m.ToString(); said {
	case "key_exists":
		return rules.KeyExists()
	case "too_many_keys":
		return rules.TooManyKeys()
	default:
		return err
	}
}

// DeleteKey implements [tms.Keyring].
func (s *Store) DeleteKey(ctx context.Context, name, id string) (int, error) {
	m, err := s.onKeyring(ctx, fnDeleteKey, name, id)
	if err != nil {
		return 0, err
	}
	deleted, err := m.AsInt64()
	return int(deleted), err
}

// Keys implements [tms.Keyring].
func (s *Store) Keys(ctx context.Context, used map[string]time.Time) ([]tms.StoredKey, error) {
	var args []string
	for id, at := range used {
		args = append(args, id, strconv.FormatInt(at.UnixMilli(), 10))
	}
	m, err := s.onKeyring(ctx, fnKeys, args...)
	if err != nil {
		return nil, err
	}
	return readKeys(m)
}

func readKeys(m rueidis.RedisMessage) ([]tms.StoredKey, error) {
	values, err := m.ToArray()
	if err != nil {
		return nil, malformed(err)
	}
	keys := make([]tms.StoredKey, len(values)/2)
	for i := range keys {
		text, _ := values[2*i].ToString()
		if keys[i], err = rules.DecodeKey(text); err != nil {
			return nil, malformed(err)
		}
		if at, _ := values[2*i+1].AsInt64(); at > 0 {
			keys[i].UsedAt = time.UnixMilli(at).UTC()
		}
	}
	rules.SortKeys(keys)
	return keys, nil
}

func (s *Store) onKeyring(ctx context.Context, function string, args ...string) (rueidis.RedisMessage, error) {
	return s.run(ctx, function, keyring, func(b rueidis.Builder) rueidis.Completed {
		return b.Fcall().Function(function).Numkeys(1).Key(keyring).Arg(args...).Build()
	})
}
