package rules

import (
	"cmp"
	"encoding/json"
	"slices"

	tms "github.com/manankarani/token-manager"
)

// EncodeKey returns a key as stores keep it.
func EncodeKey(key tms.StoredKey) string {
	text, _ := json.Marshal(key) // texts and instants cannot fail
	return string(text)
}

// DecodeKey reads what [EncodeKey] has written.
func DecodeKey(text string) (key tms.StoredKey, err error) {
	err = json.Unmarshal([]byte(text), &key)
	return key, err
}

// SortKeys puts keys into the order in which they are listed.
func SortKeys(keys []tms.StoredKey) {
	slices.SortFunc(keys, func(a, b tms.StoredKey) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), a.MadeAt.Compare(b.MadeAt), cmp.Compare(a.ID, b.ID))
	})
}

// MayPutKey refuses a key whose ID another one has.
func MayPutKey(there, key tms.StoredKey) error {
	if there.Hash != key.Hash {
		return KeyExists()
	}
	return nil
}

// KeyExists refuses a key whose ID another one has.
func KeyExists() error { return tms.Invalid("id", "is that of another key") }

// TooManyKeys refuses a key where there is no room for one.
func TooManyKeys() error {
	return tms.Invalid("name", "the store holds %d keys already, and no more; delete one before", tms.MaxKeys)
}
