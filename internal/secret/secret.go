// Package secret is what is made of the installation key: masks, which tell tokens apart and do not tell them, and
// sealed texts, which callers carry and cannot read.
package secret

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"sync/atomic"

	tms "github.com/manankarani/token-manager"
)

// Key is an installation key, as [tms.Keyed] keeps it. The zero value is none.
type Key [32]byte

// Source returns the key of an installation. It is safe for concurrent use.
type Source func(context.Context) (Key, error)

// Of returns the source of the store's key, which asks the store until it has it. Of a store that keeps none, the key
// is drawn, and good for as long as the source is used.
func Of(store tms.Store) Source {
	keyed, ok := store.(tms.Keyed)
	if !ok {
		var drawn Key
		rand.Read(drawn[:])
		return func(context.Context) (Key, error) { return drawn, nil }
	}
	var known atomic.Pointer[Key]
	return func(ctx context.Context) (Key, error) {
		if key := known.Load(); key != nil {
			return *key, nil
		}
		raw, err := keyed.InstallationKey(ctx)
		if err != nil {
			return Key{}, err
		}
		key := Key(raw)
		known.Store(&key)
		return key, nil
	}
}

// Mask returns 32 digits that are the same for the same words, none of which has a zero byte, and of which nobody finds
// them. Without a key it is empty.
func (k Key) Mask(words ...string) string {
	if k == (Key{}) {
		return ""
	}
	return hex.EncodeToString(k.mac(words...)[:16])
}

func (k Key) mac(words ...string) []byte {
	mac := hmac.New(sha256.New, k[:])
	for _, word := range words {
		io.WriteString(mac, word+"\x00")
	}
	return mac.Sum(nil)
}

// Token returns the mask of a token, which is the same wherever it is masked.
func (k Key) Token(pool, value string) string { return k.Mask("token", pool, value) }

// letters are those of a sealed text: one has no two writings.
var letters = base64.RawURLEncoding.Strict()

// Seal returns the text so that nobody else can read or change it, in letters that a URL holds as they are. Only who
// names what it is about opens it.
func (k Key) Seal(about, text string) string {
	sealer := k.sealer()
	nonce := make([]byte, sealer.NonceSize(), sealer.NonceSize()+len(text)+sealer.Overhead())
	rand.Read(nonce)
	return letters.EncodeToString(sealer.Seal(nonce, nonce, []byte(text), []byte(about)))
}

// Open returns what was sealed. It fails for anything else.
func (k Key) Open(about, sealed string) (string, error) {
	sealer := k.sealer()
	raw, err := letters.DecodeString(sealed)
	if err != nil || len(raw) < sealer.NonceSize() {
		return "", errors.New("secret: it was not sealed here")
	}
	text, err := sealer.Open(nil, raw[:sealer.NonceSize()], raw[sealer.NonceSize():], []byte(about))
	return string(text), err
}

// sealer returns AES-GCM under a key that serves for nothing else.
func (k Key) sealer() cipher.AEAD {
	block, err := aes.NewCipher(k.mac("seal"))
	if err != nil {
		panic(err) // the key is as long as it has to be
	}
	sealer, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // blocks of AES are as long as they have to be
	}
	return sealer
}
