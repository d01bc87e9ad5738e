// Package telemetry keeps the metrics of a server in a Prometheus registry: of its store, of its requests, of its
// sweeps, of the tokens in its pools, and of the process. No label holds a token, a lease_id or a client_id.
package telemetry

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	tms "github.com/manankarani/token-manager"
)

// Labels of outcomes that have no [tms.Code].
const (
	outcomeOK     = "ok"
	outcomeFailed = "failed" // outcome unknown
	outcomeGone   = "gone"   // the caller gave up; outcome unknown
)

// Wrap returns a store that counts and times the operations of the given one in the registry, and registers there the
// sizes of its pools. It is a [tms.Readier] if the given store is. A registry takes one store.
func Wrap(store tms.Sweeper, registry prometheus.Registerer) tms.Sweeper {
	w := &wrapped{Sweeper: store, verbs: map[verb]*meter{}, waits: newWaits(registry)}
	total := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tms_operations_total",
		Help: "Operations of the store by verb and outcome; of a batch, each of its items.",
	}, []string{"verb", "code"})
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "tms_operation_seconds",
		Help: "Time that calls of the store took, by verb; a batch is one call, an assign's waiting is a part " +
			"of it.",
		Buckets: buckets,
	}, []string{"verb"})
	registry.MustRegister(total, seconds, newPoolCollector(store))
	for _, v := range verbs {
		w.verbs[v] = newMeter(v, total, seconds)
	}
	if readier, ok := store.(tms.Readier); ok {
		return &ready{wrapped: w, Readier: readier}
	}
	return w
}

// buckets go from what an embedded store in memory takes to the time at which clients give up.
var buckets = []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

type verb string

const (
	putPool    verb = "put_pool"
	pool       verb = "pool"
	pools      verb = "pools"
	deletePool verb = "delete_pool"
	generate   verb = "generate"
	assign     verb = "assign"
	keepAlive  verb = "keep_alive"
	unblock    verb = "unblock"
	deleting   verb = "delete"
	restore    verb = "restore"

	unblockClient  verb = "unblock_client"
	unblockRequest verb = "unblock_request"

	expire verb = "expire"
	token  verb = "token"
	tokens verb = "tokens"

	waiters verb = "waiters"
)

var verbs = []verb{putPool, pool, pools, deletePool, generate, assign, keepAlive, unblock, unblockClient,
	unblockRequest, restore,
	deleting, expire, token, tokens, waiters}

// meter keeps the metrics of one verb.
type meter struct {
	ok      prometheus.Counter // found beforehand, for the usual case
	total   *prometheus.CounterVec
	seconds prometheus.Observer
}

func newMeter(v verb, total *prometheus.CounterVec, seconds *prometheus.HistogramVec) *meter {
	curried := total.MustCurryWith(prometheus.Labels{"verb": string(v)})
	return &meter{curried.WithLabelValues(outcomeOK), curried, seconds.WithLabelValues(string(v))}
}

func (m *meter) count(err error) {
	if err == nil {
		m.ok.Inc()
		return
	}
	m.total.WithLabelValues(outcomeOf(err)).Inc()
}

func (m *meter) took(start time.Time) { m.seconds.Observe(time.Since(start).Seconds()) }

// whole books a call that has one outcome.
func (m *meter) whole(start time.Time, err error) {
	m.took(start)
	m.count(err)
}

func outcomeOf(err error) string {
	if code := tms.CodeOf(err); code != "" {
		return string(code)
	}
	if errors.Is(err, context.Canceled) {
		return outcomeGone
	}
	return outcomeFailed
}

// each books a call that has an outcome for each of its items, or one error for all of them.
func each[Item any](m *meter, start time.Time, asked int, items []Item, errOf func(Item) error, err error) {
	m.took(start)
	if err != nil {
		m.total.WithLabelValues(outcomeOf(err)).Add(float64(asked))
		return
	}
	fine := 0
	for _, item := range items {
		if refusal := errOf(item); refusal != nil {
			m.count(refusal)
		} else {
			fine++
		}
	}
	m.ok.Add(float64(fine))
}
