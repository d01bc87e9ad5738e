package access

import (
	"crypto/sha256"
	"sync"
	"time"
)

const (
	// rememberedFor is how long a token that was verified is taken to be: a signature does not change, but the issuer
	// may have withdrawn its key.
	rememberedFor = time.Minute

	mostRemembered = 1_024 // tokens of an issuer, whose number nobody else bounds
)

// recent are tokens that were verified a moment ago, so that who asks often does not have the signature looked at each
// time. Only those that count are among them: nobody fills it with others. The zero value is empty.
type recent struct {
	mu         sync.Mutex
	young, old map[[sha256.Size]byte]verified
}

// verified is what a token says.
type verified struct {
	claims Claims // which nobody changes
	until  time.Time
	at     time.Time // when it was verified
}

func (r *recent) find(token string, now time.Time) (verified, bool) {
	id := sha256.Sum256([]byte(token))
	r.mu.Lock()
	defer r.mu.Unlock()
	v, known := r.young[id]
	if !known {
		v, known = r.old[id]
	}
	return v, known && now.Sub(v.at) < rememberedFor
}

// remember forgets the older half where there are too many.
func (r *recent) remember(token string, v verified) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.young == nil || len(r.young) >= mostRemembered/2 {
		r.old, r.young = r.young, map[[sha256.Size]byte]verified{}
	}
	r.young[sha256.Sum256([]byte(token))] = v
}
