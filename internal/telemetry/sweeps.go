package telemetry

import (
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	tms "github.com/manankarani/token-manager"
)

// Ready registers the metric of a server's readiness, and returns the function that says it. That is safe for
// concurrent use.
func Ready(registry prometheus.Registerer) func(ready bool) {
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tms_ready",
		Help: "1 if this server found its store fit to serve when it last looked, which it does every five seconds; " +
			"0 if not.",
	})
	registry.MustRegister(gauge)
	return func(ready bool) {
		if ready {
			gauge.Set(1)
		} else {
			gauge.Set(0)
		}
	}
}

// Sweeps registers the metrics of the expiry manager and returns the function that counts a sweep: it is meant for
// [github.com/manankarani/token-manager/internal/expiry.Options]. The function is safe for concurrent use.
func Sweeps(registry prometheus.Registerer) func(pool string, e tms.Expired, err error) {
	s := &sweeps{lag: map[string]time.Duration{}}
	s.total = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tms_sweeps_total",
		Help: "Sweeps of this server's expiry manager by outcome.",
	}, []string{"code"})
	s.total.WithLabelValues(outcomeOK)
	s.expired = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "tms_sweep_expiries_total",
		Help: "Expiries that this server's expiry manager has carried out.",
	})
	registry.MustRegister(s.total, s.expired, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tms_sweep_lag_seconds",
		Help: "How long the oldest deadline of any pool had passed when its last sweep began.",
	}, s.worst))
	return s.observe
}

type sweeps struct {
	total   *prometheus.CounterVec
	expired prometheus.Counter

	mu  sync.Mutex
	lag map[string]time.Duration // of pools that lag, in their last sweep
}

func (s *sweeps) observe(pool string, e tms.Expired, err error) {
	outcome := outcomeOK
	if err != nil {
		outcome = outcomeOf(err)
	}
	s.total.WithLabelValues(outcome).Inc()
	s.expired.Add(float64(e.Total()))
	if err != nil && !errors.Is(err, tms.ErrPoolNotFound) {
		return // nothing is known; the lag stays
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || e.Overdue <= 0 {
		delete(s.lag, pool)
		return
	}
	s.lag[pool] = e.Overdue
}

func (s *sweeps) worst() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var worst time.Duration
	for _, lag := range s.lag {
		worst = max(worst, lag)
	}
	return worst.Seconds()
}
