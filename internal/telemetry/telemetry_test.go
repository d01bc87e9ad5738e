package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/embedded"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T) tms.Sweeper {
	t.Helper()
	store, err := embedded.Open(embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

// expect compares the named metrics, as Prometheus would read them, with the lines; what has the value 0 may be left
// out.
func expect(t *testing.T, registry *prometheus.Registry, name string, lines ...string) {
	t.Helper()
	shown := map[string]bool{}
	for line := range strings.Lines(scrape(t, registry)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, name) && !strings.HasSuffix(line, " 0") {
			shown[line] = true
		}
	}
	for _, line := range lines {
		if !shown[line] {
			t.Errorf("%s is not shown", line)
		}
		delete(shown, line)
	}
	for line := range shown {
		t.Errorf("%s is shown", line)
	}
}

func scrape(t *testing.T, registry *prometheus.Registry) string {
	t.Helper()
	recorder := httptest.NewRecorder()
	Handler(registry).ServeHTTP(recorder, httptest.NewRequest("GET", "/metrics", nil))
	text, err := io.ReadAll(recorder.Result().Body)
	if err != nil || recorder.Code != 200 {
		t.Fatalf("scrape: %d, %v", recorder.Code, err)
	}
	return string(text)
}

// TestOperationsAreCountedByOutcome does every verb, and counts each item of a batch.
func TestOperationsAreCountedByOutcome(t *testing.T) {
	ctx, registry := t.Context(), prometheus.NewRegistry()
	store := Wrap(open(t), registry)
	store.PutPool(ctx, "p", tms.PolicyChange{})
	store.Pool(ctx, "p")
	store.Pool(ctx, "typo")
	store.Pools(ctx, "", 10)
	store.Generate(ctx, "p", tms.GenerateRequest{Tokens: []tms.NewToken{{Value: "a"}, {Value: "b"}}})
	store.Assign(ctx, "p", []tms.AssignRequest{{}, {Count: 2}})
	store.Assign(ctx, "typo", make([]tms.AssignRequest, 3))
	keys := []tms.LeaseKey{{Token: "a"}, {Token: "b"}, {Token: "ghost"}}
	store.KeepAlive(ctx, "p", keys)
	store.Unblock(ctx, "p", keys)
	store.Token(ctx, "p", tms.LeaseKey{Token: "a"})
	store.Tokens(ctx, "p", tms.Filter{}, "", 10)
	store.Expire(ctx, "p", 10)
	store.Delete(ctx, "p", keys)
	store.DeletePool(ctx, "p")
	expect(t, registry, "tms_operations_total",
		`tms_operations_total{code="ok",verb="put_pool"} 1`,
		`tms_operations_total{code="ok",verb="pool"} 1`,
		`tms_operations_total{code="pool_not_found",verb="pool"} 1`,
		`tms_operations_total{code="ok",verb="pools"} 1`,
		`tms_operations_total{code="ok",verb="generate"} 1`,
		`tms_operations_total{code="ok",verb="assign"} 1`,
		`tms_operations_total{code="no_token_available",verb="assign"} 1`,
		`tms_operations_total{code="pool_not_found",verb="assign"} 3`,
		`tms_operations_total{code="ok",verb="keep_alive"} 2`,
		`tms_operations_total{code="token_not_found",verb="keep_alive"} 1`,
		`tms_operations_total{code="ok",verb="unblock"} 1`,
		`tms_operations_total{code="not_assigned",verb="unblock"} 1`,
		`tms_operations_total{code="token_not_found",verb="unblock"} 1`,
		`tms_operations_total{code="ok",verb="token"} 1`,
		`tms_operations_total{code="ok",verb="tokens"} 1`,
		`tms_operations_total{code="ok",verb="expire"} 1`,
		`tms_operations_total{code="ok",verb="delete"} 2`,
		`tms_operations_total{code="token_not_found",verb="delete"} 1`,
		`tms_operations_total{code="ok",verb="delete_pool"} 1`,
	)
	for _, v := range verbs {
		if !strings.Contains(scrape(t, registry), fmt.Sprintf("tms_operation_seconds_count{verb=%q}", v)) {
			t.Errorf("%s is not timed", v)
		}
	}
}

func TestOutcomesWithoutACode(t *testing.T) {
	for err, want := range map[error]string{
		errors.New("disk"): "failed", context.Canceled: "gone", context.DeadlineExceeded: "failed",
		tms.Refuse(tms.ErrPoolFull, ""): "pool_full", tms.ErrLeaseLost: "lease_lost",
	} {
		if got := outcomeOf(err); got != want {
			t.Errorf("%v is %q, want %q", err, got, want)
		}
	}
}

// mute is a store that answers nothing: it is no Readier, and its pools cannot be listed.
type mute struct{ tms.Sweeper }

func (mute) Pools(context.Context, string, int) (page tms.PoolPage, err error) {
	return page, errors.New("away")
}

func TestReadierIsKept(t *testing.T) {
	if _, ok := Wrap(open(t), prometheus.NewRegistry()).(tms.Readier); !ok {
		t.Error("a store that can say whether it is ready no longer can")
	}
	if _, ok := Wrap(mute{}, prometheus.NewRegistry()).(tms.Readier); ok {
		t.Error("a store that cannot say whether it is ready now can")
	}
}

// settling is a store whose pools settle for a while yet.
type settling struct{ tms.Sweeper }

func (s settling) Pools(ctx context.Context, after string, limit int) (tms.PoolPage, error) {
	page, err := s.Sweeper.Pools(ctx, after, limit)
	for i := range page.Pools {
		page.Pools[i].SettlingUntil = time.Now().Add(time.Hour)
	}
	return page, err
}

// TestAScrapeTellsForHowLongAPoolSettles, and 0 of one that does not.
func TestAScrapeTellsForHowLongAPoolSettles(t *testing.T) {
	for store, want := range map[tms.Sweeper]string{open(t): "0\n", settling{open(t)}: "3599."} {
		registry := prometheus.NewRegistry()
		Wrap(store, registry)
		if text := scrape(t, registry); !strings.Contains(text, `tms_settling_seconds{pool="default"} `+want) {
			t.Errorf("the scrape does not say %s: %s", want, text)
		}
	}
}

// TestTokensAreCountedAtTheScrape over more pools than one page has, with tokens in several states.
func TestTokensAreCountedAtTheScrape(t *testing.T) {
	ctx, registry, store := t.Context(), prometheus.NewRegistry(), open(t)
	Wrap(store, registry)
	for i := range scrapePage + 1 {
		store.PutPool(ctx, fmt.Sprintf("pool-%03d", i), tms.PolicyChange{})
	}
	rest := time.Hour
	store.PutPool(ctx, "pool-100", tms.PolicyChange{Cooldown: &rest})
	store.Generate(ctx, "pool-100", tms.GenerateRequest{Tokens: make([]tms.NewToken, 5)})
	leases, err := store.Assign(ctx, "pool-100", []tms.AssignRequest{{Count: 2}})
	if err != nil {
		t.Fatal(err)
	}
	store.Unblock(ctx, "pool-100", []tms.LeaseKey{{Token: leases[0].Tokens[0].Value}})
	store.Assign(ctx, "pool-100", []tms.AssignRequest{{Count: 5, Ticket: "one"}, {Ticket: "two"}})
	expect(t, registry, "tms_tokens",
		`tms_tokens{pool="pool-100",state="available"} 3`,
		`tms_tokens{pool="pool-100",state="assigned"} 1`,
		`tms_tokens{pool="pool-100",state="cooling"} 1`)
	expect(t, registry, "tms_waiting", `tms_waiting{pool="pool-100"} 2`)
	expect(t, registry, "tms_pools_complete", "tms_pools_complete 1")
	if n := strings.Count(scrape(t, registry), "tms_tokens{"); n != 4*(scrapePage+2) {
		t.Errorf("%d series of tokens, want %d", n, 4*(scrapePage+2))
	}
}

func TestExpiriesAreCounted(t *testing.T) {
	ctx, registry := t.Context(), prometheus.NewRegistry()
	now := time.Now()
	store, err := embedded.Open(embedded.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	Wrap(store, registry)
	store.Generate(ctx, tms.DefaultPool, tms.GenerateRequest{Tokens: make([]tms.NewToken, 3)})
	store.Assign(ctx, tms.DefaultPool, []tms.AssignRequest{{}})
	now = now.Add(2 * time.Minute)
	expect(t, registry, "tms_expiries_total", `tms_expiries_total{outcome="released",pool="default"} 1`)
	now = now.Add(time.Hour)
	expect(t, registry, "tms_expiries_total",
		`tms_expiries_total{outcome="released",pool="default"} 1`,
		`tms_expiries_total{outcome="deleted",pool="default"} 3`)
}

// TestScrapeSurvivesTheStore: what cannot be counted is left out, and said to be.
func TestScrapeSurvivesTheStore(t *testing.T) {
	registry := prometheus.NewRegistry()
	Wrap(mute{}, registry)
	if text := scrape(t, registry); !strings.Contains(text, "tms_pools_complete 0") ||
		strings.Contains(text, "tms_tokens{") {
		t.Error(text)
	}
}

// crowd is a store with more pools than a scrape may show.
type crowd struct{ tms.Sweeper }

func (crowd) Pools(_ context.Context, after string, limit int) (page tms.PoolPage, err error) {
	first := 0
	fmt.Sscanf(after, "%d", &first)
	for i := range limit {
		page.Next = fmt.Sprintf("%06d", first+i+1)
		page.Pools = append(page.Pools, tms.PoolStats{Pool: tms.Pool{Name: page.Next}})
	}
	return page, nil
}

func TestScrapeIsBounded(t *testing.T) {
	registry := prometheus.NewRegistry()
	Wrap(crowd{}, registry)
	text := scrape(t, registry)
	if n := strings.Count(text, "tms_tokens{"); n != 4*scrapePools || !strings.Contains(text, "tms_pools_complete 0") {
		t.Errorf("%d series of tokens", n)
	}
}

func TestSweeps(t *testing.T) {
	registry := prometheus.NewRegistry()
	observe := Sweeps(registry)
	lag := func(want string) {
		t.Helper()
		expect(t, registry, "tms_sweep_lag_seconds", want)
	}
	observe("a", tms.Expired{Overdue: 2 * time.Second, ExpiryCounts: tms.ExpiryCounts{Released: 3}}, nil)
	observe("b", tms.Expired{Overdue: 500 * time.Millisecond}, nil)
	lag("tms_sweep_lag_seconds 2")
	observe("a", tms.Expired{}, errors.New("away"))
	observe("", tms.Expired{}, errors.New("away"))
	lag("tms_sweep_lag_seconds 2")
	observe("a", tms.Expired{}, tms.ErrPoolNotFound)
	lag("tms_sweep_lag_seconds 0.5")
	observe("b", tms.Expired{}, nil)
	expect(t, registry, "tms_sweep_lag_seconds")
	expect(t, registry, "tms_sweeps_total",
		`tms_sweeps_total{code="ok"} 3`, `tms_sweeps_total{code="failed"} 2`,
		`tms_sweeps_total{code="pool_not_found"} 1`)
	expect(t, registry, "tms_sweep_expiries_total", "tms_sweep_expiries_total 3")
}

func TestRequests(t *testing.T) {
	registry := prometheus.NewRegistry()
	observe := Requests(registry)
	observe("/pools/{pool}", "GET", 200, time.Millisecond)
	observe("/pools/{pool}", "GET", 200, time.Millisecond)
	observe("/pools/{pool}", "PUT", 400, time.Second)
	expect(t, registry, "tms_http_requests_total",
		`tms_http_requests_total{method="GET",route="/pools/{pool}",status="200"} 2`,
		`tms_http_requests_total{method="PUT",route="/pools/{pool}",status="400"} 1`)
	expect(t, registry, "tms_http_request_seconds_sum",
		`tms_http_request_seconds_sum{method="GET",route="/pools/{pool}"} 0.002`,
		`tms_http_request_seconds_sum{method="PUT",route="/pools/{pool}"} 1`)
}

// TestRegistry: the process, the runtime and the build are there, and all names are good Prometheus.
func TestRegistry(t *testing.T) {
	registry := NewRegistry("1.2.3")
	Wrap(open(t), registry)
	Requests(registry)("/livez", "GET", 200, 0)
	Sweeps(registry)
	text := scrape(t, registry)
	for _, want := range []string{`tms_build_info{goversion="go1`, `version="1.2.3"} 1`, "go_goroutines ",
		"process_start_time_seconds "} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, error %v", problems, err)
	}
}
