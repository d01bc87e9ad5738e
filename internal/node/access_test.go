package node

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/client"
	"github.com/manankarani/token-manager/internal/access"
)

// rows are the requests of the table in docs/security.md, each with its body, for the pool P and the lease L.
var rows = map[string]string{
	"POST /generate-token":                                  `{"pool":"P"}`,
	"POST /assign-token":                                    `{"pool":"P","client_id":"c"}`,
	"POST /keep-alive with the lease_id":                    `{"pool":"P","token":"held","lease_id":"L"}`,
	"POST /keep-alive without, nobody holds the token":      `{"pool":"P","token":"free"}`,
	"POST /keep-alive without, somebody holds the token":    `{"pool":"P","token":"held"}`,
	"POST /unblock-token with the lease_id":                 `{"pool":"P","token":"held","lease_id":"L"}`,
	"POST /unblock-token without, somebody holds the token": `{"pool":"P","token":"held"}`,
	"POST /unblock-token to put aside what nobody holds":    `{"pool":"P","token":"free","outcome":"quarantine"}`,
	"POST /unblock-token to put aside what somebody holds":  `{"pool":"P","token":"held","outcome":"quarantine"}`,
	"POST /unblock-token of a client_id":                    `{"pool":"P","client_id":"c"}`,
	"POST /unblock-token of a request_id":                   `{"pool":"P","request_id":"r"}`,
	"DELETE /delete-token of what nobody holds":             `{"pool":"P","token":"free"}`,
	"DELETE /delete-token of what somebody holds":           `{"pool":"P","token":"held"}`,
	"DELETE /delete-token with the lease_id":                `{"pool":"P","token":"held","lease_id":"L"}`,
	"POST /restore-token":                                   `{"pool":"P","token":"aside"}`,
	"POST /lookup-token with the lease_id":                  `{"pool":"P","token":"held","lease_id":"L"}`,
	"POST /lookup-token without":                            `{"pool":"P","token":"held"}`,
	"POST /token-history, with the lease_id or without":     `{"pool":"P","token":"held","lease_id":"L"}`,
	"GET /pools/{pool}":                                     "",
	"PUT /pools/{pool}":                                     `{"max_tokens":7}`,
	"DELETE /pools/{pool}":                                  "",
	"GET /pools/{pool}/tokens":                              "",
	"GET /pools/{pool}/waiters":                             "",
	listsPools:                                              "",
	"GET /whoami":                                           "",
	"GET /metrics, for a right in all pools":                "",
	"GET /backup, for a right in all pools":                 "",
	"GET /keys, for a right in all pools":                   "",
	"POST /keys, for a right in all pools": `{"name":"k","id":"AAAAAAAA","may":["watch"],"hash":"sha256:` +
		strings.Repeat("0", 64) + `"}`,
	"DELETE /keys/{name}, for a right in all pools": "",
	noRoute: "",
}

const (
	listsPools = "GET /pools, which shows the pools that the key may watch"
	noRoute    = "a route that there is not"
)

// ask sends the row's request with the Authorization headers, and returns the status and the problem's code.
func (g *guarded) ask(row string, authorization ...string) (int, string) {
	g.Helper()
	pool, lease := g.stock()
	words := strings.NewReplacer(`"P"`, `"`+pool+`"`, "{pool}", pool, "{name}", "k", `"L"`, `"`+lease+`"`, ",", "")
	method, path := "GET", "/nowhere"
	if row != noRoute {
		parts := strings.Fields(words.Replace(row))
		method, path = parts[0], parts[1]
	}
	body := strings.NewReplacer(`"P"`, `"`+pool+`"`, `"L"`, `"`+lease+`"`).Replace(rows[row])
	r, err := http.NewRequestWithContext(g.Context(), method, g.url+path, strings.NewReader(body))
	g.must(err)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header["Authorization"] = authorization
	response, err := cmp.Or(g.http, http.DefaultClient).Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	_, code, _ := strings.Cut(string(text), `"code":"`)
	code, _, _ = strings.Cut(code, `"`)
	if challenge := response.Header.Get("WWW-Authenticate"); (challenge == "Bearer") != (response.StatusCode == 401) {
		g.Errorf("%s: status %d has the challenge %q", row, response.StatusCode, challenge)
	}
	return response.StatusCode, code
}

// Every request of the table, with every right alone, is answered as it says.
func TestTheTableOfRightsIsTrue(t *testing.T) { onEachStore(t, theTableOfRightsIsTrue) }

func theTableOfRightsIsTrue(t *testing.T, g *guarded) {
	columns, seen := []string{"hold", "fill", "watch", "run"}, map[string]bool{}
	for _, right := range columns {
		g.admit(right, time.Time{}, right)
	}
	for row, cells := range tableOfRights(t) {
		if _, known := rows[row]; !known {
			t.Errorf("no request is known for the row %q", row)
			continue
		}
		seen[row] = true
		for i, right := range columns {
			status, code := g.ask(row, "Bearer "+g.keys[right])
			if !suits(cells[i], row, status, code) {
				t.Errorf("%s with the right to %s: %d %s, but the table says %q", row, right, status, code, cells[i])
			}
		}
	}
	if len(seen) != len(rows) {
		t.Errorf("the table has %d rows, want %d", len(seen), len(rows))
	}
}

func suits(cell, row string, status int, code string) bool {
	switch {
	case cell == "–":
		return status == 403 && code == string(tms.ErrNotPermitted)
	case cell == "409":
		return status == 409 && code == string(tms.ErrNotHolder)
	case row == noRoute:
		return status == 404
	}
	return cell == "yes" && status < 300
}

// tableOfRights reads docs/security.md: the cells of each row.
func tableOfRights(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| request | hold | fill | watch | run |\n")
	_, table, _ = strings.Cut(table, "\n") // the rule below the head
	table, _, _ = strings.Cut(table, "\n\n")
	cells := map[string][]string{}
	for line := range strings.Lines(table) {
		parts := strings.Split(strings.Trim(strings.TrimSpace(line), "| "), " | ")
		cells[strings.ReplaceAll(parts[0], "`", "")] = parts[1:]
	}
	return cells
}

// Whoever has no key, or none that counts, is let in nowhere, and with a right in other pools to nothing of this one.
func TestWhoIsKeptOut(t *testing.T) {
	g := guard(t)
	good := g.admit("good", time.Time{}, "all")
	g.admit("elsewhere", time.Time{}, "all@q-*")
	g.admit("expired", g.now, "all")
	g.admit("revoked", time.Time{}, "all")
	g.revoke("revoked")
	kept := map[string][]string{
		"no key":            nil,
		"an unknown key":    {"Bearer " + access.NewKey()},
		"an expired key":    {"Bearer " + g.keys["expired"]},
		"a revoked key":     {"Bearer " + g.keys["revoked"]},
		"another scheme":    {"Basic " + good},
		"the key alone":     {good},
		"no text":           {"Bearer "},
		"an empty header":   {""},
		"a part of the key": {"Bearer " + good[:len(good)-1]},
		"another letter":    {"Bearer " + strings.ToUpper(good)},
		"a longer key":      {"Bearer " + good + "x"},
		"two keys":          {"Bearer " + good, "Bearer " + good},
		"a tail":            {"Bearer " + good + " x"},
		"the hash":          {"Bearer " + access.HashOf(good).String()},
		"a long text":       {"Bearer " + strings.Repeat("x", 20_000)},
	}
	for row := range rows {
		for who, authorization := range kept {
			if status, code := g.ask(row, authorization...); status != 401 || code != "unauthenticated" {
				t.Errorf("%s with %s: %d %s", row, who, status, code)
			}
		}
		anywhere := map[string]bool{"GET /whoami": true, noRoute: true, listsPools: true}
		if status, code := g.ask(row, "Bearer "+g.keys["elsewhere"]); !anywhere[row] && code != "not_permitted" {
			t.Errorf("%s with a right in other pools: %d %s", row, status, code)
		}
	}
	for _, path := range []string{"/livez", "/readyz", "/openapi.yaml"} {
		if status, _ := g.ask("GET " + path); status != 200 {
			t.Errorf("GET %s without a key: %d", path, status)
		}
	}
}

// A key expires at its instant, while the server runs.
func TestAKeyExpires(t *testing.T) {
	g := guard(t)
	g.admit("short", g.now.Add(time.Minute), "all")
	if _, err := g.as("short").Whoami(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.now = g.now.Add(time.Minute)
	if _, err := g.as("short").Whoami(t.Context()); !errors.Is(err, tms.ErrUnauthenticated) {
		t.Errorf("got %v", err)
	}
}

// Two keys do not meet: neither by a request_id, nor by a client_id, nor in a quota, nor in the list of pools.
func TestKeysDoNotMeet(t *testing.T) { onEachStore(t, keysDoNotMeet) }

func keysDoNotMeet(t *testing.T, g *guarded) {
	ctx := t.Context()
	g.admit("one", time.Time{}, "hold@p-*", "watch@p-*", "fill@p-*")
	g.admit("two", time.Time{}, "hold@p-*", "fill@p-*")
	pool, _ := g.stock()
	_, err := g.Store().Generate(ctx, pool, tms.GenerateRequest{Tokens: make([]tms.NewToken, 5)})
	g.must(err)
	request := []tms.AssignRequest{{RequestID: "r", ClientID: "c"}}
	mine, err := g.as("one").Assign(ctx, pool, request)
	g.must(errors.Join(err, mine[0].Err))
	theirs, err := g.as("two").Assign(ctx, pool, request)
	g.must(errors.Join(err, theirs[0].Err))
	if mine[0].Tokens[0].Value == theirs[0].Tokens[0].Value {
		t.Fatalf("both keys were given %q", mine[0].Tokens[0].Value)
	}
	if l := mine[0].Tokens[0].Lease; l.Holder != "one" || l.ClientID != "c" {
		t.Errorf("the lease is that of %q, %q", l.Holder, l.ClientID)
	}
	if n, err := g.as("two").UnblockClient(ctx, pool, "c"); err != nil || n != 1 {
		t.Errorf("two ended %d leases of its own, error %v", n, err)
	}
	if n, err := g.as("one").UnblockRequest(ctx, pool, "r"); err != nil || n != 1 {
		t.Errorf("one ended %d leases of its own, error %v", n, err)
	}
	for _, who := range []string{"one", "two"} {
		drawn := tms.GenerateRequest{Tokens: make([]tms.NewToken, 1), RequestID: "g"}
		if got, err := g.as(who).Generate(ctx, pool, drawn); err != nil || got.Created != 1 {
			t.Errorf("%s generated %+v, error %v", who, got, err)
		}
	}
	if _, stats, err := g.Store().Pool(ctx, pool); err != nil || stats.Total() != 3+5+2 {
		t.Errorf("the pool has %+v, error %v", stats, err)
	}
	page, err := g.as("one").Pools(ctx, "", 10)
	if err != nil || len(page.Pools) != 1 || page.Pools[0].Pool.Name != pool {
		t.Errorf("one sees the pools %+v, error %v", page, err)
	}
	if page, err := g.as("two").Pools(ctx, "", 10); err != nil || len(page.Pools) != 0 {
		t.Errorf("two sees the pools %+v, error %v", page, err)
	}
}

// Who may run ends and lists anybody's leases by "holder/client_id".
func TestWhoRunsNamesAnybodysClients(t *testing.T) { onEachStore(t, whoRunsNamesAnybodysClients) }

func whoRunsNamesAnybodysClients(t *testing.T, g *guarded) {
	g.admit("boss", time.Time{}, "all")
	pool, _ := g.stock()
	page, err := g.as("boss").Tokens(t.Context(), pool, tms.Filter{ClientID: "other/c"}, "", 10)
	if err != nil || len(page.Tokens) != 1 || page.Tokens[0].Lease.Holder != "other" {
		t.Errorf("the list is %+v, error %v", page, err)
	}
	if n, err := g.as("boss").UnblockClient(t.Context(), pool, "c"); err != nil || n != 0 {
		t.Errorf("%d leases of its own were ended, error %v", n, err)
	}
	if n, err := g.as("boss").UnblockClient(t.Context(), pool, "other/c"); err != nil || n != 1 {
		t.Errorf("%d leases were ended, error %v", n, err)
	}
}

// What is done to pools, and by force, is told with the key that did it, and tells of no token.
func TestTheLogSaysWhoUsedForce(t *testing.T) {
	g := guard(t)
	ctx := t.Context()
	g.admit("boss", time.Time{}, "all")
	pool, lease := g.stock()
	c := g.as("boss")
	_, err := c.PutPool(ctx, "new", tms.PolicyChange{})
	g.must(err)
	_, err = c.PutPool(ctx, "new", tms.PolicyChange{MaxTokens: new(3)})
	g.must(err)
	_, err = c.PutPool(ctx, "new", tms.PolicyChange{MaxTokens: new(3)}) // which changes nothing
	g.must(err)
	g.must(c.DeletePool(ctx, "new"))
	_, err = c.Unblock(ctx, pool, []tms.LeaseKey{{Token: "held"}})
	g.must(err)
	_, err = c.Delete(ctx, pool, []tms.LeaseKey{{Token: "held"}, {Token: "free"}, {Token: "none"}})
	g.must(err)
	for line, times := range map[string]int{
		`msg="a pool was made" pool=new key=boss`:                                                     1,
		`msg="the policy of a pool was changed" pool=new key=boss`:                                    1,
		`msg="a pool was deleted" pool=new key=boss`:                                                  1,
		`msg="tokens were taken without a lease_id" verb=unblock pool=` + pool + ` tokens=1 key=boss`: 1,
		`msg="tokens were taken without a lease_id" verb=delete pool=` + pool + ` tokens=2 key=boss`:  1,
		"held": 0, "free": 0, lease: 0, g.keys["boss"]: 0,
	} {
		if n := strings.Count(g.log.String(), line); n != times {
			t.Errorf("the log has %d times %s, want %d:\n%s", n, line, times, &g.log)
		}
	}
}

// Whoever waits with a key that is taken out meanwhile gets nothing, and what it would have been given is free.
func TestAKeyEndsDuringAWait(t *testing.T) { onEachStore(t, aKeyEndsDuringAWait) }

func aKeyEndsDuringAWait(t *testing.T, g *guarded) {
	g.admit("short", time.Time{}, "hold")
	endsDuringAWait(t, g, func() { g.revoke("short") })
}

// endsDuringAWait has the key short wait while it ends.
func endsDuringAWait(t *testing.T, g *guarded, end func()) {
	t.Helper()
	ctx := t.Context()
	_, err := g.Store().PutPool(ctx, "p", tms.PolicyChange{})
	g.must(err)
	waited, waits := make(chan error), g.as("short")
	go func() {
		results, err := waits.Assign(ctx, "p", []tms.AssignRequest{{Wait: 20 * time.Second, RequestID: "r"}})
		if err == nil {
			err = results[0].Err
		}
		waited <- err
	}()
	waitUntil(t, func() bool {
		_, stats, err := g.Store().Pool(ctx, "p")
		return err == nil && stats.Waiting == 1
	})
	end()
	_, err = g.Store().Generate(ctx, "p", tms.GenerateRequest{Tokens: []tms.NewToken{{Value: "a"}}})
	g.must(err)
	if err := <-waited; !errors.Is(err, tms.ErrUnauthenticated) {
		t.Errorf("the waiter got %v", err)
	}
	waitUntil(t, func() bool {
		token, err := g.Store().Token(ctx, "p", tms.LeaseKey{Token: "a"})
		return err == nil && token.State == tms.Available
	})
}

// Whoever hangs up in a wait with a key that ends leaves nothing behind either.
func TestAKeyEndsWhileItsCallerHangsUp(t *testing.T) {
	onEachStore(t, func(t *testing.T, g *guarded) {
		g.admit("short", time.Time{}, "hold")
		pool, _ := g.stock()
		store := access.Wrap(takesAndHangsUp{g.Store()}, g.ring, nil)
		ctx, err := g.ring.Enter(t.Context(), []string{"Bearer " + g.keys["short"]}, nil)
		g.must(err)
		ctx, hangUp := context.WithCancel(context.WithValue(ctx, hangsUp{}, func() { g.revoke("short") }))
		hangUp()
		_, err = store.Assign(ctx, pool, []tms.AssignRequest{{Wait: time.Second}})
		if !errors.Is(err, tms.ErrUnauthenticated) {
			t.Errorf("got %v", err)
		}
		token, err := g.Store().Token(t.Context(), pool, tms.LeaseKey{Token: "free"})
		if err != nil || token.State != tms.Available {
			t.Errorf("the token is %+v, error %v", token, err)
		}
	})
}

// takesAndHangsUp is a store that assigns although the caller's context has ended, as one does that was about to.
type takesAndHangsUp struct{ tms.Store }

type hangsUp struct{}

func (s takesAndHangsUp) Assign(ctx context.Context, pool string, r []tms.AssignRequest) ([]tms.AssignResult, error) {
	ctx.Value(hangsUp{}).(func())()
	return s.Store.Assign(context.WithoutCancel(ctx), pool, r)
}

func waitUntil(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come to that")
		}
	}
}

// A key that may only hold waits, in a pool whose leases last no longer than they do, for a token that it then has,
// for as long as the lease lasts: by its lease_id it may look.
func TestAHolderWaitsWhereLeasesAreNotProlonged(t *testing.T) {
	t.Parallel() // it waits, mostly
	g := guard(t)
	g.admit("ci", time.Time{}, "hold")
	ctx, ttl := t.Context(), 6*time.Second
	_, err := g.Store().PutPool(ctx, "p", tms.PolicyChange{LeaseTTL: &ttl, MaxLease: &ttl})
	g.must(err)
	_, err = g.Store().Generate(ctx, "p", tms.GenerateRequest{Tokens: make([]tms.NewToken, 1)})
	g.must(err)
	taken, err := g.Store().Assign(ctx, "p", []tms.AssignRequest{{}})
	g.must(errors.Join(err, taken[0].Err))
	time.AfterFunc(4*time.Second, func() { g.Store().Unblock(ctx, "p", []tms.LeaseKey{proofOf(taken[0].Tokens[0])}) })
	held, err := g.as("ci").Acquire(ctx, "p", client.Wait(20*time.Second))
	g.must(err)
	if left := time.Until(held.Deadline()); left < ttl-2*time.Second || left > ttl {
		t.Errorf("it takes the lease to last for %v yet", left)
	}
	g.must(held.Close())
}
