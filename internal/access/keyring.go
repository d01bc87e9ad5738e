package access

import (
	"context"
	"crypto/x509"
	"strings"
	"sync/atomic"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/limit"
)

// Key is what a server knows of a key, which is a secret, a certificate that its authority vouches for, or a token that
// an issuer vouches for.
type Key struct {
	Name        string // the holder of the leases that are taken with it
	Hash        Hash   // of the secret; zero: there is none
	Certificate string // the URI or the common name of the certificate; empty: there is none
	Issuer      string // the name of the issuer of the token; empty: there is none
	Claims      Match  // what the token must say
	May         []tms.Grant
	Expires     time.Time   // from when on nobody may use it; zero: never
	Rate        *limit.Rate // how often it may ask; nil: as often as keys may on the server

	shown *token        // of a caller who has shown one
	used  *atomic.Int64 // of a key in the store: when it was last used, Unix ms
}

// token is what an issuer has said of a caller.
type token struct {
	issuer string
	claims Claims
	until  time.Time
}

// may reports whether the key has the right in the pool.
func (k *Key) may(right tms.Right, pool string) bool {
	for _, grant := range k.May {
		if grant.Gives(right, pool) {
			return true
		}
	}
	return false
}

// Keyring knows the keys of a server. It is made with [NewKeyring], and safe for concurrent use.
type Keyring struct {
	now     func() time.Time
	issuers map[string]*Issuer // by URL
	keys    atomic.Pointer[keys]
	stored  stored
}

// keys are those of a configuration. Each is in one of the maps.
type keys struct {
	all           []Key
	byHash        map[Hash]*Key
	byCertificate map[string]*Key
	byIssuer      map[string][]*Key
}

// NewKeyring returns a keyring without keys, with issuers that may vouch for some. Now tells which have expired; nil:
// the clock of the machine does.
func NewKeyring(now func() time.Time, issuers ...*Issuer) *Keyring {
	if now == nil {
		now = time.Now
	}
	r := &Keyring{now: now, issuers: map[string]*Issuer{}}
	for _, issuer := range issuers {
		r.issuers[issuer.URL] = issuer
	}
	r.Set(nil)
	return r
}

// Set puts these keys in the place of all others but those of a store, at once for every request that comes, and for
// those that wait when their wait ends.
func (r *Keyring) Set(all []Key) {
	set := &keys{all, map[Hash]*Key{}, map[string]*Key{}, map[string][]*Key{}}
	for _, key := range all {
		switch {
		case key.Certificate != "":
			set.byCertificate[key.Certificate] = &key
		case key.Issuer != "":
			set.byIssuer[key.Issuer] = append(set.byIssuer[key.Issuer], &key)
		default:
			set.byHash[key.Hash] = &key
		}
	}
	r.keys.Store(set)
}

// again returns the key as it is now, unless it has been taken out, or has expired.
func (r *Keyring) again(key *Key) (*Key, error) {
	switch {
	case key.Certificate != "":
		return r.alive(r.keys.Load().byCertificate[key.Certificate])
	case key.shown != nil:
		return r.vouched(key.shown)
	}
	return r.find(key.Hash)
}

// find returns the key of the hash, unless it has expired. Keys are found by their hash, whose bits an attacker cannot
// choose, so that the time that it takes tells nothing of a key.
func (r *Keyring) find(hash Hash) (*Key, error) {
	key := r.keys.Load().byHash[hash]
	if key == nil {
		var err error
		if key, err = r.stored.find(hash); err != nil {
			return nil, err
		}
	}
	return r.alive(key)
}

// configured returns the keys of the configuration, as those of a store are listed.
func (r *Keyring) configured() []tms.StoredKey {
	var list []tms.StoredKey
	for _, key := range r.keys.Load().all {
		list = append(list, tms.StoredKey{Name: key.Name, May: key.May, Expires: key.Expires})
	}
	return list
}

func (r *Keyring) alive(key *Key) (*Key, error) {
	switch {
	case key == nil:
		return nil, tms.Refuse(tms.ErrUnauthenticated, "the server does not know the key, or it was revoked")
	case !key.Expires.IsZero() && !r.now().Before(key.Expires):
		return nil, tms.Refuse(tms.ErrUnauthenticated, "the key %q has expired", key.Name)
	}
	return key, nil
}

// Enter returns the context in which a caller asks the store of [Wrap], who brings these Authorization headers, or
// without any, this certificate, for which an authority of the server vouches. It is refused with
// [tms.ErrUnauthenticated].
func (r *Keyring) Enter(ctx context.Context, authorization []string, shown *x509.Certificate) (context.Context,
	error) {
	var key *Key
	var err error
	if len(authorization) == 0 && shown != nil {
		key, err = r.certified(shown)
	} else {
		key, err = r.authorized(ctx, authorization)
	}
	if err != nil {
		return nil, err
	}
	return context.WithValue(ctx, callerKey{}, key), nil
}

// certified returns the key that a certificate is: that of one of its URIs, or else of its common name. A common name
// is no URI, whatever it says, nor the other way round: there are authorities that look at one of the two only.
func (r *Keyring) certified(shown *x509.Certificate) (*Key, error) {
	if r.now().After(shown.NotAfter) { // on a connection that has outlived it
		return nil, tms.Refuse(tms.ErrUnauthenticated, "the certificate has expired")
	}
	known := r.keys.Load().byCertificate
	for _, uri := range shown.URIs {
		if key := known[uri.String()]; key != nil && isURI(uri.String()) {
			return r.alive(key)
		}
	}
	name := shown.Subject.CommonName
	if key := known[name]; key != nil && !isURI(name) {
		return r.alive(key)
	}
	return nil, tms.Refuse(tms.ErrUnauthenticated, "no key of the server is this certificate")
}

func isURI(name string) bool { return strings.Contains(name, "://") }

func (r *Keyring) authorized(ctx context.Context, authorization []string) (*Key, error) {
	if len(authorization) != 1 {
		return nil, tms.Refuse(tms.ErrUnauthenticated, "send one key: Authorization: Bearer tms_…")
	}
	scheme, text, _ := strings.Cut(authorization[0], " ")
	text = strings.TrimLeft(text, " ")
	if !strings.EqualFold(scheme, "Bearer") || text == "" {
		return nil, tms.Refuse(tms.ErrUnauthenticated, "send the key as Authorization: Bearer tms_…")
	}
	if issuer := r.issuers[issuerOf(text)]; issuer != nil {
		claims, until, err := issuer.verify(ctx, text)
		if err != nil {
			return nil, err
		}
		return r.vouched(&token{issuer.Name, claims, until})
	}
	if err := ValidateKey(text); err != nil {
		return nil, err
	}
	return r.find(HashOf(text))
}

// vouched returns the key that a token is: the one whose claims it has. A token that is several keys is none, since
// which of them counted would be chance.
func (r *Keyring) vouched(shown *token) (*Key, error) {
	var found *Key
	for _, key := range r.keys.Load().byIssuer[shown.issuer] {
		if !key.Claims.matches(shown.claims) {
			continue
		}
		if found != nil {
			return nil, tms.Refuse(tms.ErrUnauthenticated, "the token is that of the keys %q and %q, and must be of "+
				"one", found.Name, key.Name)
		}
		found = key
	}
	if found == nil {
		return nil, tms.Refuse(tms.ErrUnauthenticated, "no key of the server is this token of %s", shown.issuer)
	}
	own := *found
	own.shown = shown
	if own.Expires.IsZero() || shown.until.Before(own.Expires) {
		own.Expires = shown.until
	}
	return r.alive(&own)
}

// callerKey is the key of a context's value: the caller's *Key.
type callerKey struct{}

// Who returns the caller.
func (r *Keyring) Who(ctx context.Context) (tms.Caller, error) {
	key, err := callerOf(ctx)
	if err != nil {
		return tms.Caller{}, err
	}
	return tms.Caller{Key: key.Name, May: key.May, Expires: key.Expires}, nil
}

// Payer returns who pays for the caller's calls, at the usual rate of keys unless the key has its own. Without a caller
// nobody does.
func (r *Keyring) Payer(ctx context.Context, usual limit.Rate) limit.Payer {
	key, err := callerOf(ctx)
	if err != nil {
		return limit.Payer{}
	}
	payer := limit.Payer{Name: "key/" + key.Name, By: "key", Rate: usual}
	if key.Rate != nil {
		payer.Rate = *key.Rate
	}
	return payer
}

// callerOf returns the key of the caller.
func callerOf(ctx context.Context) (*Key, error) {
	key, _ := ctx.Value(callerKey{}).(*Key)
	if key == nil {
		return nil, tms.ErrUnauthenticated
	}
	return key, nil
}

// Everywhere refuses a caller who has not the right in all pools, with [tms.ErrNotPermitted].
func (r *Keyring) Everywhere(ctx context.Context, right tms.Right) error {
	key, err := callerOf(ctx)
	if err == nil && !key.may(right, "") { // which only a glob matches that matches any pool
		err = tms.Refuse(tms.ErrNotPermitted, "the key %q has not the right to %s in all pools", key.Name, right)
	}
	return err
}
