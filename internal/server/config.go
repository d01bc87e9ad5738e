package server

import (
	"context"
	"crypto/x509"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
	"github.com/manankarani/token-manager/internal/limit"
)

// Config says what a Server serves and within which limits. Store must be set; a zero field has its default, see below.
type Config struct {
	Store   tms.Store
	Logger  *slog.Logger // requests at debug, failures at error; never token values, lease ids or queries. Nil: no logs
	Version string       // shown by /livez; empty: not shown

	Durability string // what an answer outlives, for a person, shown by /readyz; empty: not shown

	// LocalOnly refuses requests whose Host header names another machine, as those do that a page of another origin has
	// led here by the name of its own host. It is for a server that listens on loopback and asks nobody who they are.
	LocalOnly bool

	// Certificate, where it is set, has Serve speak TLS, of version 1.2 or later.
	Certificate *Certificate

	// FailedAuth is how often requests of one address may fail for want of a key that counts, before they are refused
	// as rate_limited instead. The zero value sets no limit. A key that counts is let in all the same.
	FailedAuth limit.Rate

	// Denied, where it is set, is called for each request that is refused for want of rights before the store is asked,
	// with the pattern of its route.
	Denied func(ctx context.Context, route string, err error)

	// LogRequests has a line at the level info written for requests: [LogErrors] or [LogAll]. Empty or [LogNone]: those
	// that are answered 500 are at the level error, and all others at debug.
	LogRequests string

	// TellsVisits has the store find in the context where a request comes from: see [limit.VisitOf].
	TellsVisits bool

	// TrustedProxies are the networks of proxies whose X-Forwarded-For says where a request comes from.
	TrustedProxies []netip.Prefix

	// Limited, where it is set, is called for each request that is refused for FailedAuth, with "authentication".
	Limited func(by string)

	// Access says who may do what. Nil: everybody may do everything.
	Access Access

	Metrics http.Handler // answers /metrics; nil: that route is not found

	// Backup, where it is set, makes a backup for /backup; nil: that route is not found.
	Backup func(context.Context) (Backup, error)

	// Observe, where it is set, is called after every request with the pattern of its route ("other" where there is
	// none), its method ("other" where HTTP does not define it), the status and the time that it took. The status is
	// [StatusClientGone] where the client gave up before there was an answer. It is called by many goroutines at once.
	Observe func(route, method string, status int, elapsed time.Duration)

	// Stopping, where it is set, is called once, when a server that was told to stop takes no new connections and
	// begins to wait for the requests that are under way. It lets a store refuse its waiters.
	Stopping func()

	Limits
}

// Access says who a caller is. What a caller may do is for the store to say, which finds the caller in the context.
type Access interface {
	// Enter returns the context in which the store is asked for a request with these Authorization headers, or a
	// refusal with [tms.ErrUnauthenticated]. The certificate is that of the client; nil: it has shown none.
	Enter(ctx context.Context, authorization []string, shown *x509.Certificate) (context.Context, error)

	// Everywhere refuses a caller who has not the right in all pools.
	Everywhere(ctx context.Context, right tms.Right) error

	// Who returns the caller.
	Who(ctx context.Context) (tms.Caller, error)
}

// Limits bound what callers may use up. A zero field has its default.
type Limits struct {
	MaxWait        time.Duration // longest time that an assign may ask to wait; it comes on top of WriteTimeout
	MaxBodyBytes   int64         // most bytes of a request's body
	MaxBodyMemory  int64         // most bytes of memory for all bodies, beyond 64 KiB each; a quarter for one address
	MaxHeaderBytes int           // most bytes of a request's header
	// most connections at once, beside ReservedConnections; more take the place of idle ones
	MaxConnections int
	// most assigns that wait at once, fewer than MaxConnections; its default is the half of these
	MaxWaiting      int
	HeaderTimeout   time.Duration // longest time in which a request's header arrives
	ReadTimeout     time.Duration // longest time in which a whole request arrives
	WriteTimeout    time.Duration // longest time from a request's header to the end of its answer
	IdleTimeout     time.Duration // after which a connection without requests is closed
	ReadyTimeout    time.Duration // longest time in which the store reports whether it is ready
	ShutdownTimeout time.Duration // that requests have to end when the server stops

	// DrainDelay is how long the server goes on as before once /readyz says that it is stopping, so that load balancers
	// can notice. Its default is zero.
	DrainDelay time.Duration
}

// Backup is a backup of a store that was made, and that writes itself. It is closed when it was.
type Backup interface {
	io.WriterTo
	io.Closer
}

// WithDefaults returns c with a default in the place of every zero field.
//
// The clocks of HeaderTimeout and ReadTimeout start when a connection is accepted, or when the request before it has
// been answered and the next begins. Clients keep connections in store that they have never used and would take it for
// an error if one were closed just when they do, so that these times are long, and ReadTimeout is the longer one.
func (c Config) WithDefaults() Config {
	byDefault(&c.Logger, slog.New(slog.DiscardHandler))
	byDefault(&c.MaxWait, time.Minute)
	byDefault(&c.MaxBodyBytes, api.MaxBodyBytes)
	byDefault(&c.MaxBodyMemory, 8*c.MaxBodyBytes)
	byDefault(&c.MaxHeaderBytes, 32<<10)
	byDefault(&c.MaxConnections, 10_000)
	byDefault(&c.MaxWaiting, c.MaxConnections/2)
	c.MaxWaiting = max(1, min(c.MaxWaiting, c.MaxConnections-1))
	byDefault(&c.HeaderTimeout, time.Minute)
	byDefault(&c.ReadTimeout, 90*time.Second)
	byDefault(&c.WriteTimeout, time.Minute)
	byDefault(&c.IdleTimeout, 2*time.Minute)
	byDefault(&c.ReadyTimeout, 2*time.Second)
	byDefault(&c.ShutdownTimeout, 10*time.Second)
	if c.Stopping == nil {
		c.Stopping = func() {}
	}
	if c.Limited == nil {
		c.Limited = func(string) {}
	}
	if c.Denied == nil {
		c.Denied = func(context.Context, string, error) {}
	}
	if c.Observe == nil {
		c.Observe = func(string, string, int, time.Duration) {}
	}
	return c
}

func byDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
