package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	tms "github.com/manankarani/token-manager"
)

const (
	scrapeTimeout = 3 * time.Second // for all pools of one scrape
	scrapePage    = 100             // pools asked for at once
	scrapePools   = 1_000           // most pools of one scrape, the first by name, so that nobody can flood Prometheus
)

// poolCollector asks the store for the sizes of its pools when Prometheus asks for them. Every server of a store that
// is shared reports the same.
type poolCollector struct {
	store    tms.Sweeper
	tokens   *prometheus.Desc
	waiting  *prometheus.Desc
	expiries *prometheus.Desc
	settling *prometheus.Desc
	complete *prometheus.Desc
}

func newPoolCollector(store tms.Sweeper) *poolCollector {
	return &poolCollector{
		store: store,
		tokens: prometheus.NewDesc("tms_tokens",
			"Tokens by pool and state.", []string{"pool", "state"}, nil),
		waiting: prometheus.NewDesc("tms_waiting",
			"Requests that wait in the queue of a pool, on all servers of the store.", []string{"pool"}, nil),
		expiries: prometheus.NewDesc("tms_expiries_total",
			"Expiries carried out in a pool by all servers of the store since the pool was made.",
			[]string{"pool", "outcome"},
			nil),
		settling: prometheus.NewDesc("tms_settling_seconds",
			"How long a pool settles yet after a takeover, so that it gives few tokens or none; 0: not at all.",
			[]string{"pool"}, nil),
		complete: prometheus.NewDesc("tms_pools_complete",
			"1 if the metrics by pool show every pool; 0 if the store did not answer in time or has over 1,000 pools.",
			nil, nil),
	}
}

// Describe is part of [prometheus.Collector].
func (c *poolCollector) Describe(out chan<- *prometheus.Desc) {
	out <- c.tokens
	out <- c.waiting
	out <- c.expiries
	out <- c.settling
	out <- c.complete
}

// Collect is part of [prometheus.Collector]. It takes no longer than scrapeTimeout.
func (c *poolCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	complete := 0.
	if c.collect(ctx, out) {
		complete = 1
	}
	out <- prometheus.MustNewConstMetric(c.complete, prometheus.GaugeValue, complete)
}

// collect reports whether it has shown every pool.
func (c *poolCollector) collect(ctx context.Context, out chan<- prometheus.Metric) bool {
	next := ""
	for range scrapePools / scrapePage {
		page, err := c.store.Pools(ctx, next, scrapePage)
		if err != nil {
			return false
		}
		for _, pool := range page.Pools {
			c.show(pool.Name, pool.Stats, out)
			left := max(0, time.Until(pool.SettlingUntil).Seconds())
			out <- prometheus.MustNewConstMetric(c.settling, prometheus.GaugeValue, left, pool.Name)
		}
		if next = page.Next; next == "" {
			return true
		}
	}
	return false
}

func (c *poolCollector) show(name string, stats tms.Stats, out chan<- prometheus.Metric) {
	for state, n := range map[tms.State]int{
		tms.Available: stats.Available, tms.Assigned: stats.Assigned, tms.Cooling: stats.Cooling,
		tms.Quarantined: stats.Quarantined,
	} {
		out <- prometheus.MustNewConstMetric(c.tokens, prometheus.GaugeValue, float64(n), name, string(state))
	}
	out <- prometheus.MustNewConstMetric(c.waiting, prometheus.GaugeValue, float64(stats.Waiting), name)
	for outcome, n := range map[string]int64{
		"released": stats.Expired.Released, "quarantined": stats.Expired.Quarantined, "deleted": stats.Expired.Deleted,
	} {
		out <- prometheus.MustNewConstMetric(c.expiries, prometheus.CounterValue, float64(n), name, outcome)
	}
}
