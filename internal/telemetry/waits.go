package telemetry

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	tms "github.com/manankarani/token-manager"
)

// mostPools is how many pools have metrics of their own in a process, so that nobody can flood Prometheus. Those that
// are met after them share one label, which is the name of none.
const (
	mostPools  = 1_000
	otherPools = "_others"
)

// waits keeps the metric of requests that were willing to wait.
type waits struct {
	seconds *prometheus.HistogramVec

	mu    sync.Mutex
	pools map[string]bool
}

func newWaits(registry prometheus.Registerer) *waits {
	w := &waits{pools: map[string]bool{}}
	w.seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "tms_wait_seconds",
		Help: "Time that assigns took which were willing to wait, by pool and outcome; beyond 1,000 pools as _others.",
		// to an hour: who sizes a pool asks how long people wait
		Buckets: []float64{.01, .1, 1, 5, 10, 30, 60, 300, 900, 1800, 3600},
	}, []string{"pool", "outcome"})
	registry.MustRegister(w.seconds)
	return w
}

// observe books those of the requests that were willing to wait, which began at the same time. A pool that there is not
// lets nobody wait, and gets no label.
func (w *waits) observe(pool string, start time.Time, requests []tms.AssignRequest, results []tms.AssignResult,
	err error) {
	for i, r := range requests {
		if r.Wait == 0 {
			continue
		}
		outcome := outcomeOK
		failed := errorOf(results, i, err)
		if tms.CodeOf(failed) == tms.ErrPoolNotFound {
			continue
		}
		if failed != nil {
			outcome = outcomeOf(failed)
		}
		w.seconds.WithLabelValues(w.label(pool), outcome).Observe(time.Since(start).Seconds())
	}
}

func errorOf(results []tms.AssignResult, i int, err error) error {
	if err == nil && i < len(results) {
		return results[i].Err
	}
	return err
}

func (w *waits) label(pool string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.pools[pool] && len(w.pools) == mostPools {
		return otherPools
	}
	w.pools[pool] = true
	return pool
}
