package access

import (
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
)

// A token that was verified is not verified again for a minute; its times and the keys are looked at each time. What
// differs from it in one letter is another token.
func TestATokenIsVerifiedOnceAMinute(t *testing.T) {
	i := newIssuing(t)
	ring := i.ring(shop)
	token := i.sign(Claims{"exp": i.clock().Add(-30 * time.Second).Unix()}) // for half a minute yet
	if _, _, err := enter(ring, token); err != nil {
		t.Fatal(err)
	}
	issuer := ring.issuers[i.url]
	at := issuer.recent.young
	if len(at) != 1 {
		t.Fatalf("%d tokens are remembered", len(at))
	}
	forged := token[:len(token)-10] + "AAAAAAAAAA"
	if _, _, err := enter(ring, forged); tms.CodeOf(err) != tms.ErrUnauthenticated || len(issuer.recent.young) != 1 {
		t.Errorf("another signature: %v, and %d tokens are remembered", err, len(issuer.recent.young))
	}
	i.pass(31 * time.Second)
	if _, _, err := enter(ring, token); tms.CodeOf(err) != tms.ErrUnauthenticated {
		t.Errorf("it has expired: %v", err)
	}
	ring.Set(nil)
	i.pass(-31 * time.Second)
	if _, _, err := enter(ring, token); tms.CodeOf(err) != tms.ErrUnauthenticated {
		t.Errorf("no key is that token: %v", err)
	}
	if _, known := issuer.recent.find(token, i.clock().Add(rememberedFor)); known {
		t.Error("it is remembered for longer than a minute")
	}
}

// However many tokens come, so many are remembered.
func TestRememberedTokensAreBounded(t *testing.T) {
	var r recent
	now := time.Now()
	for n := range 5 * mostRemembered {
		r.remember(string(rune(n)), verified{at: now})
	}
	if n := len(r.young) + len(r.old); n > mostRemembered {
		t.Errorf("%d tokens are remembered", n)
	}
	if _, known := r.find(string(rune(5*mostRemembered-1)), now); !known {
		t.Error("the last one is not")
	}
}

// What a token costs: each time another one, or the same.
func BenchmarkToken(b *testing.B) {
	i := newIssuing(b)
	ring := i.ring(shop)
	token := i.sign(nil)
	for name, forgets := range map[string]bool{"verified": true, "remembered": false} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if forgets {
					ring.issuers[i.url].recent = recent{}
				}
				if _, _, err := enter(ring, token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
