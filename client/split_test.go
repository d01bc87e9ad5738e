package client_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
	"github.com/manankarani/token-manager/client"
	"github.com/manankarani/token-manager/internal/server"
	"github.com/manankarani/token-manager/internal/store/embedded"
)

const mostBytes = 1000 // that the servers of these tests take in a body

// startNarrow starts a server that takes short bodies only, or a proxy that does so before one that takes longer ones.
func startNarrow(t *testing.T, proxy bool) *client.Client {
	store, err := embedded.Open(embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	config := server.Config{Store: store}
	if !proxy {
		config.MaxBodyBytes = mostBytes
	}
	behind := server.New(config).Handler()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if proxy && r.ContentLength > mostBytes {
			http.Error(w, "<html>", http.StatusRequestEntityTooLarge)
			return
		}
		behind.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		srv.Close()
		store.Close()
	})
	return dial(t, srv.URL)
}

// TestBatchesThatAreTooLongAreHalved does every verb that takes a batch with one that is too long, of which the last
// key is refused.
func TestBatchesThatAreTooLongAreHalved(t *testing.T) {
	for name, proxy := range map[string]bool{"by the server": false, "by a proxy": true} {
		t.Run(name, func(t *testing.T) {
			const n = 100
			c, ctx := startNarrow(t, proxy), t.Context()
			if _, err := c.Generate(ctx, "default", tms.GenerateRequest{Tokens: make([]tms.NewToken, n)}); err != nil {
				t.Fatal(err)
			}
			leases, err := c.Assign(ctx, "default", []tms.AssignRequest{{Count: n}})
			if err != nil || leases[0].Err != nil {
				t.Fatal(err, leases[0].Err)
			}
			var keys []tms.LeaseKey
			values := []string{}
			for _, token := range leases[0].Tokens {
				keys = append(keys, tms.LeaseKey{Token: token.Value, LeaseID: token.Lease.ID, Quarantine: true})
				values = append(values, token.Value)
			}
			keys, values = append(keys, tms.LeaseKey{Token: "no such"}), append(values, "no such")
			checkHalved(t, "keep-alive")(errorsOf(c.KeepAlive(ctx, "default", keys)))
			checkHalved(t, "unblock")(errorsOf(c.Unblock(ctx, "default", keys)))
			checkHalved(t, "restore")(errorsOf(c.Restore(ctx, "default", values)))
			for i := range keys {
				keys[i].LeaseID = ""
			}
			checkHalved(t, "delete")(c.Delete(ctx, "default", keys))
		})
	}
}

func errorsOf(results []tms.TokenResult, err error) ([]error, error) {
	errs := make([]error, len(results))
	for i, r := range results {
		errs[i] = r.Err
	}
	return errs, err
}

func checkHalved(t *testing.T, verb string) func([]error, error) {
	return func(errs []error, err error) {
		t.Helper()
		if err != nil || len(errs) != 101 {
			t.Fatalf("%s: %d results, error %v", verb, len(errs), err)
		}
		for i, err := range errs {
			if (err != nil) != (i == 100) {
				t.Errorf("%s of key %d: %v", verb, i, err)
			}
		}
	}
}

func TestWhatCannotBeHalvedIsRefused(t *testing.T) {
	for name, proxy := range map[string]bool{"by the server": false, "by a proxy": true} {
		c := startNarrow(t, proxy)
		_, err := c.KeepAlive(t.Context(), "default", []tms.LeaseKey{{Token: strings.Repeat("x", mostBytes)},
			{Token: "y"}})
		if tms.CodeOf(err) != tms.ErrBodyTooLarge {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNoBatchIsLongerThanServersTake has tokens whose characters take two bytes each.
func TestNoBatchIsLongerThanServersTake(t *testing.T) {
	var sizes []int
	c, _ := scripted(t, 0, func(r *http.Request) (*http.Response, error) {
		body, _ := io.ReadAll(r.Body)
		sizes = append(sizes, len(body))
		n := strings.Count(string(body), `"lease_id"`)
		results := strings.Repeat(`{"token":"t"},`, n-1) + `{"token":"t"}`
		return answers(200, api.JSON, `{"results":[`+results+`]}`)(r)
	})
	keys := make([]tms.LeaseKey, tms.MaxBatch)
	for i := range keys {
		keys[i] = tms.LeaseKey{Token: fmt.Sprint(strings.Repeat(`"`, 500), i), LeaseID: "id"}
	}
	results, err := c.KeepAlive(t.Context(), "default", keys)
	if err != nil || len(results) != len(keys) || len(sizes) != 2 || max(sizes[0], sizes[1]) > api.MaxBodyBytes {
		t.Errorf("%d results, bodies of %d bytes, error %v", len(results), sizes, err)
	}
}

// TestLeasesAreKeptWhereOnlyShortRequestsPass holds more than one request can renew.
func TestLeasesAreKeptWhereOnlyShortRequestsPass(t *testing.T) {
	t.Parallel()
	c := startNarrow(t, false)
	if _, err := c.Generate(t.Context(), "default", tms.GenerateRequest{Tokens: make([]tms.NewToken, 60)}); err != nil {
		t.Fatal(err)
	}
	helds, err := c.AcquireN(t.Context(), "", 60, client.TTL(10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	awaitRenewal(t, helds)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
