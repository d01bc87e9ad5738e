package node

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/coreos/go-oidc/v3/oidc/oidctest"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/access"
	"github.com/manankarani/token-manager/internal/store/embedded"
)

// issuing is an issuer with a key, and a server that lets its jobs in.
type issuing struct {
	*guarded
	key *rsa.PrivateKey
	url string
}

func issue(t *testing.T) issuing {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public := oidctest.PublicKey{PublicKey: key.Public(), KeyID: "k", Algorithm: oidc.RS256}
	served := &oidctest.Server{PublicKeys: []oidctest.PublicKey{public}}
	srv := httptest.NewServer(served)
	t.Cleanup(srv.Close)
	served.SetIssuer(srv.URL)
	issuer, err := access.NewIssuer(access.IssuerOptions{Name: "ci", URL: srv.URL, Audience: "tms"})
	if err != nil {
		t.Fatal(err)
	}
	opened, err := embedded.Open(embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	i := issuing{serveOptions(t, opened, true, Options{Keyring: access.NewKeyring(nil, issuer)}), key, srv.URL}
	i.ring.Set([]access.Key{{Name: "jobs", Issuer: "ci", Claims: access.Match{"repository": "acme/*"},
		May: []tms.Grant{{Right: tms.Run, Pools: "*"}}}})
	return i
}

func (i issuing) claims(iss, aud, repository string, expires time.Time) string {
	return fmt.Sprintf(`{"iss":%q,"aud":%q,"repository":%q,"exp":%d}`, iss, aud, repository, expires.Unix())
}

func (i issuing) sign(claims string) string {
	return oidctest.SignIDToken(i.key, "k", oidc.RS256, claims)
}

// A token of an issuer opens what its key may, and one that does not count opens nothing, whatever the request is.
func TestTokensThatDoNotCountOpenNothing(t *testing.T) {
	i := issue(t)
	soon, stranger := time.Now().Add(time.Minute), issue(t)
	good := i.claims(i.url, "tms", "acme/shop", soon)
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." +
		base64.RawURLEncoding.EncodeToString([]byte(good)) + "."
	kept := map[string]string{
		"another audience":     i.sign(i.claims(i.url, "other", "acme/shop", soon)),
		"another issuer":       stranger.sign(i.claims(stranger.url, "tms", "acme/shop", soon)),
		"signed by a stranger": stranger.sign(good),
		"alg none":             none,
		"expired":              i.sign(i.claims(i.url, "tms", "acme/shop", time.Now().Add(-2*time.Minute))),
		"another repository":   i.sign(i.claims(i.url, "tms", "other/shop", soon)),
		"a letter more":        i.sign(good) + "A",
	}
	for row := range rows {
		for who, token := range kept {
			if status, code := i.ask(row, "Bearer "+token); status != 401 || code != "unauthenticated" {
				t.Errorf("%s with %s: %d %s", row, who, status, code)
			}
		}
		if status, code := i.ask(row, "Bearer "+i.sign(good)); status >= 300 && row != noRoute {
			t.Errorf("%s with a token that counts: %d %s", row, status, code)
		}
	}
}

// A lease that was taken with a token is that of its key.
func TestALeaseIsThatOfTheTokensKey(t *testing.T) {
	i := issue(t)
	i.keys["jobs"] = i.sign(i.claims(i.url, "tms", "acme/shop", time.Now().Add(time.Minute)))
	_, err := i.Store().Generate(t.Context(), "default", tms.GenerateRequest{Tokens: make([]tms.NewToken, 1)})
	i.must(err)
	results, err := i.as("jobs").Assign(t.Context(), "default", []tms.AssignRequest{{ClientID: "me"}})
	i.must(err)
	if lease := results[0].Tokens[0].Lease; lease.Holder != "jobs" || !strings.HasPrefix(lease.Who(), "jobs/me") {
		t.Errorf("the lease is %+v", lease)
	}
}
