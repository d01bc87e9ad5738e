package telemetry

import (
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// NewRegistry returns a registry with the metrics of the process, of the Go runtime and of the build.
func NewRegistry(version string) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "tms_build_info",
		Help:        "Always 1; the labels say what was built.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	build.Set(1)
	registry.MustRegister(build, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

// Handler returns the handler that shows the registry to Prometheus.
func Handler(registry *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// Dropped registers the metric of log lines that were dropped, of which lines returns how many there are.
func Dropped(registry prometheus.Registerer, lines func() int64) {
	countLines(registry, lines, "tms_log_lines_dropped_total",
		"Lines of the log that were dropped because nobody read it in time.")
}

// AuditDropped registers the metric of lines of the audit that could not be written, of which lines returns how many
// there are.
func AuditDropped(registry prometheus.Registerer, lines func() int64) {
	countLines(registry, lines, "tms_audit_lines_dropped_total", "Lines of the audit that could not be written.")
}

func countLines(registry prometheus.Registerer, lines func() int64, name, help string) {
	registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help},
		func() float64 { return float64(lines()) }))
}

// Limited registers the metric of calls that a rate limit refused, and returns the function that counts one: by what
// the caller was known.
func Limited(registry prometheus.Registerer) func(by string) {
	total := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tms_limited_total",
		Help: "Requests that a rate limit refused, by what it counts: key, address, or authentication, which are " +
			"those that bring no key that counts.",
	}, []string{"by"})
	registry.MustRegister(total)
	return func(by string) { total.WithLabelValues(by).Inc() }
}

// Requests registers the metrics of HTTP requests and returns the function that counts one: it is meant for
// [github.com/manankarani/token-manager/internal/server.Config]. The function is safe for concurrent use. The status
// 499 is that of a request whose client gave up.
func Requests(registry prometheus.Registerer) func(route, method string, status int, elapsed time.Duration) {
	r := &requests{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tms_http_requests_total",
			Help: "HTTP requests by route, method and status; 499: the client gave up.",
		}, []string{"route", "method", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tms_http_request_seconds",
			Help:    "Time that HTTP requests took, by route and method.",
			Buckets: buckets,
		}, []string{"route", "method"}),
	}
	registry.MustRegister(r.total, r.seconds)
	return r.observe
}

type requests struct {
	total   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	known   sync.Map // kind → *series, so that the usual request looks up its labels once
}

type kind struct {
	route, method string
	status        int
}

type series struct {
	total   prometheus.Counter
	seconds prometheus.Observer
}

func (r *requests) observe(route, method string, status int, elapsed time.Duration) {
	k := kind{route, method, status}
	found, ok := r.known.Load(k)
	if !ok {
		found, _ = r.known.LoadOrStore(k, &series{
			r.total.WithLabelValues(route, method, strconv.Itoa(status)),
			r.seconds.WithLabelValues(route, method),
		})
	}
	s := found.(*series)
	s.total.Inc()
	s.seconds.Observe(elapsed.Seconds())
}
