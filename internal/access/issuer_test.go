package access

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/coreos/go-oidc/v3/oidc/oidctest"

	tms "github.com/manankarani/token-manager"
)

// issuing is an issuer that a test runs, with the clock of the test.
type issuing struct {
	testing.TB
	oidctest.Server
	url   string
	rsa   *rsa.PrivateKey
	asked atomic.Int64
	away  atomic.Bool

	mu  sync.Mutex
	now time.Time
}

func newIssuing(t testing.TB) *issuing {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuing{TB: t, rsa: key, now: time.Now()}
	i.PublicKeys = []oidctest.PublicKey{{PublicKey: key.Public(), KeyID: "first", Algorithm: oidc.RS256}}
	served := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.asked.Add(1)
		if i.away.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		i.ServeHTTP(w, r)
	}))
	t.Cleanup(served.Close)
	i.url = served.URL
	i.SetIssuer(i.url)
	return i
}

func (i *issuing) clock() time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.now
}

func (i *issuing) pass(d time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.now = i.now.Add(d)
}

// ring returns a keyring that lets in whom the issuer vouches for, as one of the keys.
func (i *issuing) ring(keys ...Key) *Keyring {
	i.Helper()
	issuer, err := NewIssuer(IssuerOptions{Name: "ci", URL: i.url, Audience: "tms", Now: i.clock})
	if err != nil {
		i.Fatal(err)
	}
	ring := NewKeyring(i.clock, issuer)
	ring.Set(keys)
	return ring
}

var shop = Key{Name: "shop", Issuer: "ci", Claims: Match{"repository": "acme/shop", "ref": "refs/heads/*"}}

// claims returns those of a good token, some of them changed; nil takes one out.
func (i *issuing) claims(change Claims) string {
	claims := Claims{"iss": i.url, "aud": "tms", "sub": "job", "exp": i.clock().Add(5 * time.Minute).Unix(),
		"repository": "acme/shop", "ref": "refs/heads/main"}
	for name, value := range change {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	text, err := json.Marshal(claims)
	if err != nil {
		i.Fatal(err)
	}
	return string(text)
}

func (i *issuing) sign(change Claims) string {
	return oidctest.SignIDToken(i.rsa, "first", oidc.RS256, i.claims(change))
}

func enter(ring *Keyring, token string) (tms.Caller, context.Context, error) {
	ctx, err := ring.Enter(context.Background(), []string{"Bearer " + token}, nil)
	if err != nil {
		return tms.Caller{}, nil, err
	}
	caller, err := ring.Who(ctx)
	return caller, ctx, err
}

// A token lets in as the key whose claims it has, for as long as it is good.
func TestATokenOfAnIssuerIsAKey(t *testing.T) {
	i := newIssuing(t)
	other := Key{Name: "other", Issuer: "ci", Claims: Match{"repository": "acme/other"}}
	ring := i.ring(other, shop)
	for _, change := range []Claims{{}, {"aud": []string{"x", "tms"}}, {"ref": []string{"x", "refs/heads/x"}},
		{"exp": i.clock().Add(-50 * time.Second).Unix()}, {"nbf": i.clock().Add(50 * time.Second).Unix()}} {
		caller, _, err := enter(ring, i.sign(change))
		if err != nil || caller.Key != "shop" {
			t.Errorf("with %v it is let in as %+v, error %v", change, caller, err)
		}
	}
	token := i.sign(nil)
	caller, _, err := enter(ring, token)
	if left := caller.Expires.Sub(i.clock()).Round(time.Minute); err != nil || left != 6*time.Minute {
		t.Errorf("it is let in until %v, error %v", caller.Expires, err)
	}
	i.pass(7 * time.Minute)
	if _, _, err := enter(ring, token); tms.CodeOf(err) != tms.ErrUnauthenticated {
		t.Errorf("when it has expired: %v", err)
	}
}

// What does not count is refused, whatever is wrong with it, and the refusal does not repeat it.
func TestTokensThatDoNotCount(t *testing.T) {
	i, stranger := newIssuing(t), newIssuing(t)
	ring := i.ring(shop, Key{Name: "shop-2", Issuer: "ci", Claims: Match{"repository": "acme/shop", "env": "prod"}})
	elliptical, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	good := i.sign(nil)
	parts := strings.Split(good, ".")
	for name, token := range map[string]string{
		"another audience":       i.sign(Claims{"aud": "other"}),
		"no audience":            i.sign(Claims{"aud": nil}),
		"another issuer":         i.sign(Claims{"iss": stranger.url}),
		"signed by a stranger":   oidctest.SignIDToken(stranger.rsa, "first", oidc.RS256, i.claims(nil)),
		"a stranger's key":       oidctest.SignIDToken(stranger.rsa, "second", oidc.RS256, i.claims(nil)),
		"another algorithm":      oidctest.SignIDToken(i.rsa, "first", oidc.PS256, i.claims(nil)),
		"a key of another kind":  oidctest.SignIDToken(elliptical, "first", oidc.ES256, i.claims(nil)),
		"alg none":               raw(`{"alg":"none"}`) + "." + raw(i.claims(nil)) + ".",
		"alg none, and a name":   raw(`{"alg":"none","kid":"first"}`) + "." + raw(i.claims(nil)) + "." + parts[2],
		"the public key as HMAC": raw(`{"alg":"HS256","kid":"first"}`) + "." + raw(i.claims(nil)) + "." + parts[2],
		"other claims":           parts[0] + "." + raw(i.claims(Claims{"sub": "x"})) + "." + parts[2],
		"expired":                i.sign(Claims{"exp": i.clock().Add(-61 * time.Second).Unix()}),
		"never expires":          i.sign(Claims{"exp": nil}),
		"its time has not come":  i.sign(Claims{"nbf": i.clock().Add(62 * time.Second).Unix()}),
		"another repository":     i.sign(Claims{"repository": "acme/shop2"}),
		"a repository below":     i.sign(Claims{"repository": "acme/shop/x"}),
		"no claim":               i.sign(Claims{"ref": nil}),
		"a claim that is none":   i.sign(Claims{"ref": map[string]any{"x": "refs/heads/main"}}),
		"two keys":               i.sign(Claims{"env": "prod"}),
		"no signature":           parts[0] + "." + parts[1] + ".",
		"cut":                    good[:len(good)-3],
		"two parts":              parts[0] + "." + parts[1],
		"nonsense":               "a.b.c",
	} {
		caller, _, err := enter(ring, token)
		if tms.CodeOf(err) != tms.ErrUnauthenticated || strings.Contains(err.Error(), parts[1]) ||
			strings.Contains(err.Error(), parts[2]) {
			t.Errorf("%s: let in as %+v, error %v", name, caller, err)
		}
	}
	if _, _, err := enter(ring, i.sign(Claims{"exp": nil})); !strings.Contains(err.Error(), "does not say when") {
		t.Errorf("never expires: %v", err)
	}
	if _, _, err := enter(ring, good); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

// A caller that waits is looked at again when the wait ends: its token may have expired, and its key be gone.
func TestATokenIsLookedAtAgain(t *testing.T) {
	i := newIssuing(t)
	ring := i.ring(shop)
	_, ctx, err := enter(ring, i.sign(nil))
	if err != nil {
		t.Fatal(err)
	}
	key, _ := callerOf(ctx)
	if _, err := ring.again(key); err != nil {
		t.Errorf("a token that is good: %v", err)
	}
	i.pass(7 * time.Minute)
	if _, err := ring.again(key); tms.CodeOf(err) != tms.ErrUnauthenticated {
		t.Errorf("a token that has expired: %v", err)
	}
	i.pass(-7 * time.Minute)
	ring.Set(nil)
	if _, err := ring.again(key); tms.CodeOf(err) != tms.ErrUnauthenticated {
		t.Errorf("a key that was taken out: %v", err)
	}
}

// However many tokens come that do not count, the issuer is asked twice: who it is, and for its keys. Half a minute
// later it is asked again, and a key that is new counts.
func TestNobodyDrivesTheIssuer(t *testing.T) {
	i := newIssuing(t)
	ring := i.ring(shop)
	second, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := enter(ring, i.sign(nil)); err != nil {
		t.Fatal(err)
	}
	fresh := oidctest.PublicKey{PublicKey: second.Public(), KeyID: "second", Algorithm: oidc.RS256}
	i.PublicKeys = append(i.PublicKeys, fresh)
	var attacking sync.WaitGroup
	for k := range 8 {
		attacking.Go(func() {
			for n := range 50 {
				token := oidctest.SignIDToken(second, fmt.Sprint("kid-", k, n), oidc.RS256, i.claims(nil))
				if _, _, err := enter(ring, token); err == nil {
					t.Error("a stranger is let in")
				}
			}
		})
	}
	attacking.Wait()
	if n := i.asked.Load(); n != 2 {
		t.Errorf("the issuer was asked %d times", n)
	}
	i.pass(issuerPause)
	// one of the attackers may not have put away the keys of before; who comes in that moment is told of these
	late := oidctest.SignIDToken(second, "second", oidc.RS256, i.claims(nil))
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, _, err = enter(ring, late); err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		t.Errorf("a key that is new: %v", err)
	}
	if n := i.asked.Load(); n != 3 {
		t.Errorf("the issuer was asked %d times", n)
	}
}

// An issuer that is away is no reason to be refused for good: its tokens are so for now. One that was found is not
// needed again while it is away, for an hour; then a key that it has withdrawn counts no more.
func TestAnIssuerThatIsAway(t *testing.T) {
	i := newIssuing(t)
	ring := i.ring(shop)
	i.away.Store(true)
	for range 20 {
		if _, _, err := enter(ring, i.sign(nil)); tms.CodeOf(err) != tms.ErrStoreUnavailable {
			t.Errorf("while it is away: %v", err)
		}
	}
	if n := i.asked.Load(); n != 1 {
		t.Errorf("the issuer was asked %d times", n)
	}
	i.away.Store(false)
	i.pass(failurePause)
	if _, _, err := enter(ring, i.sign(nil)); err != nil {
		t.Errorf("when it is back: %v", err)
	}
	i.away.Store(true)
	i.pass(issuerAge)
	if _, _, err := enter(ring, i.sign(nil)); err != nil {
		t.Errorf("when it is away again: %v", err)
	}
	i.away.Store(false)
	i.PublicKeys = nil
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		i.pass(issuerPause)
		if _, _, err := enter(ring, i.sign(nil)); tms.CodeOf(err) == tms.ErrUnauthenticated {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a key that was withdrawn counts")
		}
	}
}

func TestIssuersThatCannotBeMeant(t *testing.T) {
	good := IssuerOptions{URL: "https://ci.example", Audience: "tms"}
	if _, err := NewIssuer(good); err != nil {
		t.Error(err)
	}
	for _, change := range []func(*IssuerOptions){
		func(o *IssuerOptions) { o.URL = "" },
		func(o *IssuerOptions) { o.URL = "http://ci.example" },
		func(o *IssuerOptions) { o.URL = "ci.example" },
		func(o *IssuerOptions) { o.Audience = "" },
		func(o *IssuerOptions) { o.Algorithms = []string{"HS256"} },
		func(o *IssuerOptions) { o.Algorithms = []string{"none"} },
	} {
		bad := good
		if change(&bad); true {
			if _, err := NewIssuer(bad); err == nil {
				t.Errorf("%+v is taken for an issuer", bad)
			}
		}
	}
}
