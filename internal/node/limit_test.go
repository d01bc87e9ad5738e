package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/client"
	"github.com/manankarani/token-manager/internal/limit"
	"github.com/manankarani/token-manager/internal/store/embedded"
	"github.com/manankarani/token-manager/internal/store/redis"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

// rarely brings nothing while a test runs.
func rarely(burst int) limit.Rate { return limit.Rate{Units: 1, Per: time.Hour, Burst: burst} }

// onEachLimited runs a test on a server of each kind of store, with a rate limit.
func onEachLimited(t *testing.T, asks bool, o Options, test func(t *testing.T, g *guarded)) {
	t.Run("embedded", func(t *testing.T) {
		opened, err := embedded.Open(embedded.Options{})
		if err != nil {
			t.Fatal(err)
		}
		test(t, serveOptions(t, opened, asks, o))
	})
	t.Run("redis", func(t *testing.T) { test(t, serveOptions(t, openRedis(t, redistest.New(t)), asks, o)) })
}

func openRedis(t testing.TB, server *redistest.Server) *redis.Store {
	t.Helper()
	opened, err := redis.Open(redis.Options{URL: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

// Beyond its rate a key is refused, and told until when; what keeps or ends a lease goes on, and so do other keys.
func TestAKeyHasItsRate(t *testing.T) {
	onEachLimited(t, true, Options{Rate: rarely(4)}, func(t *testing.T, g *guarded) {
		g.admit("busy", time.Time{}, "all")
		g.admit("other", time.Time{}, "all")
		busy, ctx := g.as("busy"), t.Context()
		_, err := busy.Generate(ctx, "default", tms.GenerateRequest{Tokens: make([]tms.NewToken, 2)})
		g.must(err)
		taken, err := busy.Assign(ctx, "default", []tms.AssignRequest{{Count: 2}})
		g.must(errors.Join(err, taken[0].Err))
		g.spend(busy, 2)
		err = g.limited(busy)
		var refusal *tms.Refusal
		if !errors.As(err, &refusal) || refusal.RetryAfter < 50*time.Minute || refusal.RetryAfter > time.Hour {
			t.Errorf("it is to come back after %v: %v", refusal.RetryAfter, err)
		}
		g.spend(g.as("other"), 3)
		keys := []tms.LeaseKey{proofOf(taken[0].Tokens[0]), proofOf(taken[0].Tokens[1])}
		for range 5 {
			kept, err := busy.KeepAlive(ctx, "default", keys)
			g.must(errors.Join(err, kept[0].Err, kept[1].Err))
		}
		back, err := busy.Unblock(ctx, "default", keys[:1])
		g.must(errors.Join(err, back[0].Err))
		gone, err := busy.Delete(ctx, "default", keys[1:])
		g.must(errors.Join(err, gone[0]))
		_, err = busy.UnblockRequest(ctx, "default", "r")
		g.must(err)
		unproven := []tms.LeaseKey{{Token: keys[0].Token}}
		if _, err = busy.Delete(ctx, "default", unproven); tms.CodeOf(err) != tms.ErrRateLimited {
			t.Errorf("a delete without the lease_id: %v", err)
		}
		if want := `tms_limited_total{by="key"} 2`; !strings.Contains(g.metrics("other"), want) {
			t.Errorf("the metrics lack %s", want)
		}
	})
}

func proofOf(token tms.Token) tms.LeaseKey {
	return tms.LeaseKey{Token: token.Value, LeaseID: token.Lease.ID}
}

// spend looks at a pool so many times, which is not refused.
func (g *guarded) spend(c *client.Client, times int) {
	g.Helper()
	for range times {
		if _, _, err := c.Pool(g.Context(), "default"); err != nil {
			g.Fatal(err)
		}
	}
}

// limited looks at a pool, which is refused.
func (g *guarded) limited(c *client.Client) error {
	g.Helper()
	_, _, err := c.Pool(g.Context(), "default")
	if tms.CodeOf(err) != tms.ErrRateLimited {
		g.Errorf("it is not limited: %v", err)
	}
	return err
}

func (g *guarded) metrics(key string) string {
	g.Helper()
	status, _, text := g.get("/metrics", "Bearer "+g.keys[key])
	if status != http.StatusOK {
		g.Fatalf("/metrics: %d %s", status, text)
	}
	return text
}

func (g *guarded) get(path string, authorization ...string) (int, http.Header, string) {
	g.Helper()
	r, err := http.NewRequestWithContext(g.Context(), http.MethodGet, g.url+path, nil)
	g.must(err)
	r.Header["Authorization"] = authorization
	response, err := http.DefaultClient.Do(r)
	g.must(err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	g.must(err)
	return response.StatusCode, response.Header, string(text)
}

// A key's own rate holds in the place of the server's, from the moment at which it is given one.
func TestAKeyHasARateOfItsOwn(t *testing.T) {
	onEachLimited(t, true, Options{Rate: rarely(1)}, func(t *testing.T, g *guarded) {
		g.admit("free", time.Time{}, "all")
		g.all[0].Rate = &limit.Rate{}
		g.ring.Set(g.all)
		g.spend(g.as("free"), 10)
		g.all[0].Rate = new(rarely(2))
		g.ring.Set(g.all)
		g.spend(g.as("free"), 2)
		g.limited(g.as("free"))
	})
}

// Where nobody is asked for a key, addresses have the rate; where nothing is said, nobody is limited.
func TestAnAddressHasItsRate(t *testing.T) {
	onEachLimited(t, false, Options{Rate: rarely(2)}, func(t *testing.T, g *guarded) {
		g.spend(g.as("nobody"), 2)
		g.limited(g.as("nobody"))
	})
	g := serveGuarded(t, false)
	g.spend(g.as("nobody"), 10)
}

// The fields are those of the draft: the burst and the time in which it comes, and what is left and until when.
func TestAnswersTellOfTheLimit(t *testing.T) {
	g := serveGuarded(t, true)
	g.admit("k", time.Time{}, "all")
	g.all[0].Rate = &limit.Rate{Units: 1, Per: time.Minute, Burst: 2}
	g.ring.Set(g.all)
	for i, want := range []struct{ status, retry, limit string }{
		{"200", "", `"default";r=1;t=60`}, {"200", "", `"default";r=0;t=120`}, {"429", "60", `"default";r=0;t=120`},
	} {
		status, header, text := g.get("/pools/default", "Bearer "+g.keys["k"])
		if fmt.Sprint(status) != want.status || header.Get("Retry-After") != want.retry ||
			header.Get("RateLimit-Policy") != `"default";q=2;w=120` || header.Get("RateLimit") != want.limit {
			t.Errorf("request %d: %d %v %s", i+1, status, header, text)
		}
	}
	if _, header, _ := g.get("/whoami", "Bearer "+g.keys["k"]); header.Get("RateLimit") != "" {
		t.Error("a request that costs nothing tells of the limit")
	}
}

// Whoever guesses keys is told to wait, and whoever has one is let in from the same address.
func TestWhoGuessesIsLimited(t *testing.T) {
	opened, err := embedded.Open(embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{}
	o.HTTP.FailedAuth = rarely(3)
	g := serveOptions(t, opened, true, o)
	g.admit("boss", time.Time{}, "all")
	for i, want := range []int{401, 401, 401, 429, 429} {
		status, header, text := g.get("/pools", "Bearer nonsense")
		if status != want || (header.Get("Retry-After") != "") != (want == 429) {
			t.Errorf("guess %d: %d %v %s", i+1, status, header, text)
		}
	}
	g.spend(g.as("boss"), 3)
	if want := `tms_limited_total{by="authentication"} 2`; !strings.Contains(g.metrics("boss"), want) {
		t.Errorf("the metrics lack %s", want)
	}
}

// A client waits for as long as it is told, and goes on: all that ask together are answered in the end.
func TestAClientWaitsForItsTurn(t *testing.T) {
	onEachLimited(t, true, Options{Rate: limit.Rate{Units: 40, Per: time.Second, Burst: 1}}, waitsForItsTurn)
}

func waitsForItsTurn(t *testing.T, g *guarded) {
	g.admit("k", time.Time{}, "all")
	c, err := client.New(g.url, client.WithKey(g.keys["k"]))
	g.must(err)
	defer c.Close()
	var asking sync.WaitGroup
	for range 20 {
		asking.Go(func() {
			one := tms.GenerateRequest{Tokens: make([]tms.NewToken, 1)}
			if _, err := c.Generate(t.Context(), "default", one); err != nil {
				t.Error(err)
			}
			results, err := c.Assign(t.Context(), "default", []tms.AssignRequest{{Wait: 10 * time.Second}})
			if err != nil || results[0].Err != nil {
				t.Error(err, results)
			}
		})
	}
	asking.Wait()
	if _, stats, err := g.Store().Pool(t.Context(), "default"); err != nil || stats.Assigned != 20 {
		t.Errorf("%+v, error %v", stats, err)
	}
	if !strings.Contains(g.metrics("k"), `tms_limited_total{by="key"}`) {
		t.Error("nobody was limited")
	}
}

// While Redis is away a limited call is refused as it would be without a limit, and nothing is done.
func TestALimitThatCannotBeAsked(t *testing.T) {
	server := redistest.New(t)
	g := serveOptions(t, openRedis(t, server), true, Options{Rate: rarely(100)})
	g.admit("k", time.Time{}, "all")
	g.spend(g.as("k"), 1)
	server.Stop()
	if _, _, err := g.as("k").Pool(t.Context(), "default"); tms.CodeOf(err) != tms.ErrStoreUnavailable {
		t.Errorf("without Redis: %v", err)
	}
}

// free are the methods of a store that are never limited.
var free = map[string]bool{"KeepAlive": true, "Unblock": true, "UnblockClient": true, "UnblockRequest": true,
	"Close": true}

// limited is what callers reach of a store.
type limited interface {
	tms.Store
	tms.Keyring
}

// Every method of a store is limited, but for those that keep or end a lease.
func TestEveryMethodIsLimited(t *testing.T) {
	refused := 0
	payer := func(context.Context) limit.Payer { return limit.Payer{Name: "x", Rate: rarely(1)} }
	nothing := struct{ limited }{} // whose methods panic
	limiter, wanted := limit.NewLocal(nil), 0
	limiter.Take(t.Context(), "x", rarely(1), 1) // which is all there is
	store := limit.Wrap(nothing, limiter, payer, func(string) { refused++ })
	for method := range reflect.TypeFor[limited]().Methods() {
		called := reflect.ValueOf(store).MethodByName(method.Name)
		arguments := []reflect.Value{reflect.ValueOf(t.Context())}
		for i := 1; i < called.Type().NumIn(); i++ {
			arguments = append(arguments, reflect.Zero(called.Type().In(i)))
		}
		if method.Name == "Delete" {
			arguments[2] = reflect.ValueOf([]tms.LeaseKey{{}})
		}
		if free[method.Name] {
			continue
		}
		wanted++
		called.Call(arguments)
		if refused != wanted {
			t.Fatalf("%s is not limited", method.Name)
		}
	}
	if wanted+len(free) != reflect.TypeFor[limited]().NumMethod() {
		t.Errorf("%d methods are limited and %d are not, which are not all", wanted, len(free))
	}
}

// A hundred a second over three servers of one Redis, from a key that asks for ten times as much: as many pass, and who
// keeps a lease alive meanwhile is never refused.
func TestTheRateIsOneForAllServers(t *testing.T) {
	t.Parallel() // it waits, mostly
	const servers, lasts = 3, 10 * time.Second
	server, rate := redistest.New(t), limit.Rate{Units: 100, Per: time.Second, Burst: 300}
	var nodes []*guarded
	for range servers {
		nodes = append(nodes, serveOptions(t, openRedis(t, server), true, Options{Rate: rate}))
	}
	key := nodes[0].admit("k", time.Time{}, "all")
	for _, g := range nodes[1:] {
		g.all, g.keys["k"] = nodes[0].all, key
		g.ring.Set(g.all)
	}
	var passed, asked atomic.Int64
	var asking sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for i := range 30 {
		g := nodes[i%servers]
		asking.Go(func() { g.askOften(ctx, 30*time.Millisecond, &asked, &passed) })
	}
	asking.Go(func() { nodes[0].hold(ctx) })
	for passed.Load() < int64(rate.Burst) {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(500 * time.Millisecond) // until the burst is spent for sure
	begun, before, askedBefore := time.Now(), passed.Load(), asked.Load()
	time.Sleep(lasts)
	took := time.Since(begun).Seconds()
	perSecond, asks := float64(passed.Load()-before)/took, float64(asked.Load()-askedBefore)/took
	cancel()
	asking.Wait()
	t.Logf("%.1f a second passed of %.0f", perSecond, asks)
	if perSecond < 95 || perSecond > 105 {
		t.Errorf("%.1f a second passed, want from 95 to 105", perSecond)
	}
}

// askOften asks again after each pause, whatever it is told.
func (g *guarded) askOften(ctx context.Context, pause time.Duration, asked, passed *atomic.Int64) {
	c := g.as("k")
	for ctx.Err() == nil {
		_, _, err := c.Pool(ctx, "default")
		if asked.Add(1); err == nil {
			passed.Add(1)
		} else if tms.CodeOf(err) != tms.ErrRateLimited && ctx.Err() == nil {
			g.Errorf("not limited, and not let in: %v", err)
		}
		time.Sleep(pause)
	}
}

// hold keeps a lease alive, many times as often as it needs to.
func (g *guarded) hold(ctx context.Context) {
	_, err := g.Store().Generate(ctx, "default", tms.GenerateRequest{Tokens: make([]tms.NewToken, 1)})
	results, failed := g.Store().Assign(ctx, "default", []tms.AssignRequest{{}})
	if err = errors.Join(err, failed); err != nil || results[0].Err != nil {
		g.Errorf("%v %+v", err, results)
		return
	}
	c, keys := g.as("k"), []tms.LeaseKey{proofOf(results[0].Tokens[0])}
	for ctx.Err() == nil {
		kept, err := c.KeepAlive(ctx, "default", keys)
		if ctx.Err() == nil && (err != nil || kept[0].Err != nil) {
			g.Errorf("a keep-alive is refused: %v %+v", err, kept)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
