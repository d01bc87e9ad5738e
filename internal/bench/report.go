package bench

import (
	"maps"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latencies are recorded in microseconds, up to an hour, with three digits.
const (
	longest = int64(time.Hour / time.Microsecond)
	digits  = 3
)

// All is the key of what holds for all verbs together.
const All = "all"

// recorder collects what was measured.
type recorder struct {
	mu      sync.Mutex
	latency map[string]*hdrhistogram.Histogram
	errors  map[string]int64
	skipped int64
	late    int64     // due, and not sent
	cut     int64     // sent, and cut off by the interrupt
	last    time.Time // when the last answer came

	interrupted time.Time // when that was seen first; zero: never
}

func newRecorder() *recorder {
	return &recorder{latency: map[string]*hdrhistogram.Histogram{}, errors: map[string]int64{}}
}

func (r *recorder) answered(verb string, took time.Duration, failure string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.record(verb, took, 1)
	r.last = time.Now()
	if failure != "" {
		r.errors[failure]++
	}
}

// unsent counts requests that were due but did not get their turn. They would have taken longer than they have waited.
func (r *recorder) unsent(verb string, waited time.Duration, n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.record(verb, waited, n)
	r.late += n
}

// unanswered counts a request that was under way at the interrupt. It would have taken longer than it has waited.
func (r *recorder) unanswered(verb string, waited time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.record(verb, waited, 1)
	r.cut++
}

// interrupt notes that the load was interrupted, and returns when that was seen first.
func (r *recorder) interrupt() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.interrupted.IsZero() {
		r.interrupted = time.Now()
	}
	return r.interrupted
}

func (r *recorder) skip() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.skipped++
}

func (r *recorder) record(verb string, took time.Duration, n int64) {
	for _, key := range []string{verb, All} {
		if r.latency[key] == nil {
			r.latency[key] = hdrhistogram.New(1, longest, digits)
		}
		r.latency[key].RecordValues(min(longest, max(1, took.Microseconds())), n)
	}
}

// Report is what was measured.
type Report struct {
	Seconds    float64            `json:"seconds"`  // to the last answer, or to the interrupt
	Requests   int64              `json:"requests"` // that were answered, refusals and failures among them
	PerSecond  float64            `json:"requests_per_second"`
	Latency    map[string]Latency `json:"latency"`    // of each verb, and of [All]
	Errors     map[string]int64   `json:"errors"`     // refusals by their code, and failures
	Skipped    int64              `json:"skipped"`    // steps of the mix for which a connection held no token
	Unsent     int64              `json:"unsent"`     // requests of a constant rate that did not get their turn in time
	Unanswered int64              `json:"unanswered"` // requests that the interrupt cut off

	// OwnCPU is the processor time that this process took for it, in seconds: a load that takes a whole core of its own
	// measures itself.
	OwnCPU float64 `json:"own_cpu_seconds"`
}

// Latency is a summary of how long requests took, in milliseconds. Those without an answer count with the time that
// they waited.
type Latency struct {
	Requests int64   `json:"requests"`
	Mean     float64 `json:"mean_ms"`
	P50      float64 `json:"p50_ms"`
	P90      float64 `json:"p90_ms"`
	P99      float64 `json:"p99_ms"`
	P999     float64 `json:"p99.9_ms"`
	Max      float64 `json:"max_ms"`
}

func (l *run) report() *Report {
	r := &Report{
		Latency:    map[string]Latency{},
		Errors:     maps.Clone(l.errors),
		Skipped:    l.skipped,
		Unsent:     l.late,
		Unanswered: l.cut,
	}
	for key, h := range l.latency {
		r.Latency[key] = summary(h)
	}
	r.OwnCPU = (ownCPU() - l.cpu).Seconds()
	r.Requests = r.Latency[All].Requests - l.late - l.cut
	switch {
	case !l.interrupted.IsZero():
		r.Seconds = l.interrupted.Sub(l.began).Seconds()
	case r.Requests > 0:
		r.Seconds = l.last.Sub(l.began).Seconds()
	}
	if r.Seconds > 0 {
		r.PerSecond = float64(r.Requests) / r.Seconds
	}
	return r
}

func summary(h *hdrhistogram.Histogram) Latency {
	at := func(percent float64) float64 { return float64(h.ValueAtPercentile(percent)) / 1000 }
	return Latency{
		Requests: h.TotalCount(),
		Mean:     h.Mean() / 1000,
		P50:      at(50),
		P90:      at(90),
		P99:      at(99),
		P999:     at(99.9),
		Max:      float64(h.Max()) / 1000,
	}
}
