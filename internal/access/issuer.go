package access

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	tms "github.com/manankarani/token-manager"
)

// Issuer is one who vouches for callers with tokens (JWT) of its own, as a CI does for its jobs. It is found, with the
// keys by which its tokens are known, by OpenID Connect Discovery, when the first token of it comes, and anew each
// hour. It is made with [NewIssuer].
//
// However many tokens come that do not count, it is asked no address more often than once in half a minute.
type Issuer struct {
	IssuerOptions
	client *http.Client
	recent recent

	mu     sync.Mutex
	found  *oidc.IDTokenVerifier // nil: not yet
	since  time.Time             // it was found
	tried  time.Time             // to find it
	trying chan struct{}         // closed when that has ended; nil: nobody tries
	err    error                 // why it was not found
}

// IssuerOptions says who an issuer is.
type IssuerOptions struct {
	Name       string   // by which keys call it
	URL        string   // as its tokens say it, in iss
	Audience   string   // for whom its tokens must be
	Algorithms []string // by which they may be signed; nil: RS256 and ES256

	Transport http.RoundTripper // nil: the usual one
	Now       func() time.Time  // nil: the clock of the machine
}

const (
	issuerTimeout = 5 * time.Second  // longest that an issuer may take to answer
	issuerPause   = 30 * time.Second // for which its answers are taken for new
	failurePause  = 3 * time.Second  // and its failures
	issuerAge     = time.Hour        // after which it is found anew, and the keys that it has withdrawn are forgotten
	leeway        = time.Minute      // of clocks that differ

	mostIssuerBytes = 1 << 20
)

// Algorithms are those by which tokens may be signed: with a secret that the issuer alone has.
var Algorithms = []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256,
	oidc.ES384, oidc.ES512, oidc.EdDSA}

// NewIssuer returns an issuer, which it does not ask for anything. It refuses options that cannot be meant.
func NewIssuer(o IssuerOptions) (*Issuer, error) {
	at, err := url.Parse(o.URL)
	switch {
	case err != nil || at.Host == "" || at.Scheme != "https" && !isLoopback(at):
		return nil, errors.New("issuer: must be an https address, as the iss of its tokens says it")
	case o.Audience == "":
		return nil, errors.New("audience: must be given, or tokens that are meant for others would count")
	}
	for _, algorithm := range o.Algorithms {
		if !slices.Contains(Algorithms, algorithm) {
			return nil, fmt.Errorf("algorithms: must be of %s, has %q", strings.Join(Algorithms, ", "), algorithm)
		}
	}
	if o.Algorithms == nil {
		o.Algorithms = []string{oidc.RS256, oidc.ES256}
	}
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	i := &Issuer{IssuerOptions: o}
	i.client = &http.Client{Timeout: issuerTimeout, Transport: &sparing{over: o.Transport, now: o.Now}}
	return i, nil
}

// isLoopback reports whether an address is of this machine, which needs no TLS.
func isLoopback(at *url.URL) bool {
	return at.Scheme == "http" && (at.Hostname() == "127.0.0.1" || at.Hostname() == "::1")
}

// Claims are what a token says of its bearer.
type Claims map[string]any

// verify returns what a token says, if it counts, and until when it does, which may be over.
func (i *Issuer) verify(ctx context.Context, token string) (Claims, time.Time, error) {
	now := i.Now()
	if v, known := i.recent.find(token, now); known {
		return v.claims, v.until, nil
	}
	verifier, err := i.verifier(ctx)
	if err != nil {
		return nil, time.Time{}, tms.Refuse(tms.ErrStoreUnavailable, "the issuer %s of the token cannot be asked: %v",
			i.Name, err)
	}
	var claims Claims
	said, err := verifier.Verify(ctx, token)
	if err == nil {
		err = said.Claims(&claims)
	}
	if err == nil {
		err = i.timely(said.Expiry, claims)
	}
	if err != nil {
		return nil, time.Time{}, tms.Refuse(tms.ErrUnauthenticated, "the token of %s does not count: %v", i.Name, err)
	}
	until := said.Expiry.Add(leeway)
	i.recent.remember(token, verified{claims, until, now})
	return claims, until, nil
}

// timely refuses a token that does not expire, or whose time has not come. One that has expired is refused as a key is
// that has.
func (i *Issuer) timely(expiry time.Time, claims Claims) error {
	before, some := claims["nbf"].(float64)
	switch {
	case expiry.Unix() <= 0:
		return errors.New("it does not say when it expires")
	case some && i.Now().Add(leeway).Before(time.Unix(int64(before), 0)):
		return errors.New("its time has not come")
	}
	return nil
}

// verifier returns what knows the issuer's tokens. Where it has never been found, the caller waits for that.
func (i *Issuer) verifier(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	i.mu.Lock()
	now := i.Now()
	due := i.found == nil && now.Sub(i.tried) >= failurePause || now.Sub(i.since) >= issuerAge &&
		now.Sub(i.tried) >= issuerPause
	if i.trying == nil && due {
		i.trying, i.tried = make(chan struct{}), now
		go i.discover(i.trying)
	}
	found, trying := i.found, i.trying
	i.mu.Unlock()
	if found != nil {
		return found, nil
	}
	if trying != nil {
		select {
		case <-trying:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.found, i.err
}

// discover finds the issuer.
func (i *Issuer) discover(trying chan struct{}) {
	ctx := oidc.ClientContext(context.Background(), i.client)
	provider, err := oidc.NewProvider(ctx, i.URL)
	i.mu.Lock()
	defer i.mu.Unlock()
	if err == nil {
		// exp and nbf are looked at in timely, with a leeway of our own
		i.found = provider.VerifierContext(ctx, &oidc.Config{ClientID: i.Audience, SupportedSigningAlgs: i.Algorithms,
			SkipExpiryCheck: true})
		i.since, i.err = i.Now(), nil
	} else if i.found == nil {
		i.err = err
	}
	i.trying = nil
	close(trying)
}

// issuerOf returns the iss that a token says of itself, which nobody has vouched for; empty: it is no JWT.
func issuerOf(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var said struct{ Iss string }
	if err != nil || json.Unmarshal(payload, &said) != nil {
		return ""
	}
	return said.Iss
}

// Match says what a token must say: each claim must match its glob, of the syntax of [path.Match]. A list matches with
// any of its entries.
type Match map[string]string

func (m Match) matches(claims Claims) bool {
	for name, glob := range m {
		values, some := claims[name].([]any)
		if !some {
			values = []any{claims[name]}
		}
		if !slices.ContainsFunc(values, func(value any) bool { return matches(glob, value) }) {
			return false
		}
	}
	return true
}

func matches(glob string, value any) bool {
	switch value.(type) {
	case string, bool, float64:
		fits, _ := path.Match(glob, fmt.Sprint(value))
		return fits
	}
	return false
}

// sparing is a transport that asks each address once in a while only, and answers in between what it was answered.
type sparing struct {
	over http.RoundTripper
	now  func() time.Time

	mu      sync.Mutex
	answers map[string]*answered
}

type answered struct {
	at       time.Time
	response *http.Response
	body     []byte
	err      error
}

// RoundTrip implements [http.RoundTripper].
func (s *sparing) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock() // of those who ask the same, one does
	last := s.answers[r.URL.String()]
	if last == nil || s.now().Sub(last.at) >= last.pause() {
		last = s.ask(r)
		if s.answers == nil {
			s.answers = map[string]*answered{}
		}
		s.answers[r.URL.String()] = last
	}
	if last.err != nil {
		return nil, last.err
	}
	response := *last.response
	response.Request, response.Body = r, io.NopCloser(bytes.NewReader(last.body))
	return &response, nil
}

func (a *answered) pause() time.Duration {
	if a.err != nil || a.response.StatusCode != http.StatusOK {
		return failurePause
	}
	return issuerPause
}

func (s *sparing) ask(r *http.Request) *answered {
	response, err := s.over.RoundTrip(r)
	if err != nil {
		return &answered{at: s.now(), err: err}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, mostIssuerBytes))
	return &answered{s.now(), response, body, err}
}
