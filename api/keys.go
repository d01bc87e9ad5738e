package api

import (
	tms "github.com/manankarani/token-manager"
)

// TMS returns the key, or a refusal that names the field which is wrong.
func (r PutKeyRequest) TMS() (tms.StoredKey, error) {
	key := tms.StoredKey{Name: r.Name, ID: r.ID, Hash: r.Hash, Expires: r.Expires.Time}
	for _, text := range r.May {
		grant, err := tms.ParseGrant(text)
		if err != nil {
			return key, err
		}
		key.May = append(key.May, grant)
	}
	return key, key.Validate()
}

// PutKeyRequestOf returns the request to keep the key.
func PutKeyRequestOf(key tms.StoredKey) PutKeyRequest {
	return PutKeyRequest{Name: key.Name, ID: key.ID, Hash: key.Hash, May: textsOf(key.May), Expires: Time{key.Expires}}
}

// KeyOf returns the key as it is listed.
func KeyOf(key tms.StoredKey) AccessKey {
	return AccessKey{Name: key.Name, ID: key.ID, May: textsOf(key.May), Expires: Time{key.Expires},
		MadeAt: Time{key.MadeAt}, UsedAt: Time{key.UsedAt}}
}

// KeysOf returns the answer with these keys.
func KeysOf(keys []tms.StoredKey) Keys {
	answer := Keys{Keys: []AccessKey{}}
	for _, key := range keys {
		answer.Keys = append(answer.Keys, KeyOf(key))
	}
	return answer
}

// TMS returns the keys, without their hashes. Rights that this version does not know are left out.
func (k Keys) TMS() (keys []tms.StoredKey) {
	for _, key := range k.Keys {
		keys = append(keys, tms.StoredKey{Name: key.Name, ID: key.ID, May: grantsOf(key.May),
			Expires: key.Expires.Time, MadeAt: key.MadeAt.Time, UsedAt: key.UsedAt.Time})
	}
	return keys
}

func textsOf(grants []tms.Grant) []string {
	texts := make([]string, len(grants))
	for i, grant := range grants {
		texts[i] = grant.String()
	}
	return texts
}

// grantsOf returns the rights, without those that this version does not know.
func grantsOf(texts []string) (grants []tms.Grant) {
	for _, text := range texts {
		if grant, err := tms.ParseGrant(text); err == nil {
			grants = append(grants, grant)
		}
	}
	return grants
}
