// Package node puts a server together: what wraps what stands here, and nowhere else.
//
//	store, err := redis.Open(o)                       // or embedded.Open: the caller's part
//	store = wait.Wrap(store)                          // an assign may wait its turn
//	store = telemetry.Wrap(store)                     // where there is a registry
//	store = configured{store}                         // with the pools of the configuration; this one is swept
//	store = sweeper.Store()                           // which tells the expiry manager what is used
//	store = access.Wrap(store)                        // where callers are asked for keys
//	store = audit.Wrap(store)                         // where changes are written down
//	store = limit.Wrap(store)                         // where there are rate limits
//	server.New(server.Config{Store: store})
package node

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/access"
	"github.com/manankarani/token-manager/internal/audit"
	"github.com/manankarani/token-manager/internal/expiry"
	"github.com/manankarani/token-manager/internal/limit"
	"github.com/manankarani/token-manager/internal/secret"
	"github.com/manankarani/token-manager/internal/server"
	"github.com/manankarani/token-manager/internal/telemetry"
	"github.com/manankarani/token-manager/internal/wait"
)

// Options says what a Node is. The zero value works.
type Options struct {
	// Pools are those of the configuration. Each is made, or changed, before the node is ready, and made again where it
	// vanishes.
	Pools map[string]tms.PolicyChange

	Keyring  *access.Keyring      // who may do what; nil: everybody may do everything
	Rate     limit.Rate           // how often a key, or without keys an address, may ask; zero: as often as it likes
	Audit    *audit.Log           // where changes are written down; nil: nowhere
	Required bool                 // nothing is changed that cannot be written down before
	HTTP     server.Config        // its Store, Access, Logger, Metrics, Observe and Stopping are set by the node
	Sweeps   expiry.Options       // its Observe is set by the node
	Registry *prometheus.Registry // where the node keeps its metrics; nil: nowhere
	Logger   *slog.Logger         // nil: no logs
}

// Node is a store and all that a server has around it. It is made with [New].
type Node struct {
	opened  tms.Sweeper
	waiting *wait.Store
	store   *configured
	sweeper *expiry.Manager
	keyring *access.Keyring // nil: nobody is asked for a key
	server  *server.Server
	logger  *slog.Logger
}

// New returns a node over a store that was opened. It does nothing before [Node.Serve], but for what is asked of its
// store. [Node.Close] closes the store.
func New(opened tms.Sweeper, o Options) *Node {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	n := &Node{opened: opened, logger: o.Logger, waiting: wait.Wrap(opened, wait.Options{Logger: o.Logger})}
	n.store = &configured{Sweeper: n.waiting, pools: o.Pools, logger: o.Logger, found: func(bool) {}}
	n.store.set.Store(len(o.Pools) == 0)
	count, limited := func(string, tms.Expired, error) {}, func(string) {}
	if o.Registry != nil {
		n.store.Sweeper = telemetry.Wrap(n.waiting, o.Registry)
		count, limited = telemetry.Sweeps(o.Registry), telemetry.Limited(o.Registry)
		n.store.found = telemetry.Ready(o.Registry)
		o.HTTP.Metrics, o.HTTP.Observe = telemetry.Handler(o.Registry), telemetry.Requests(o.Registry)
	}
	o.Sweeps.Observe = func(pool string, e tms.Expired, err error) {
		count(pool, e, err)
		logSweep(o.Logger, pool, e, err)
	}
	n.sweeper = expiry.New(n.store, o.Sweeps)
	o.HTTP.Store, o.HTTP.Logger, o.HTTP.Stopping = n.sweeper.Store(), o.Logger, n.waiting.Stop
	keys := secret.Of(opened)
	if o.Keyring != nil {
		if keeps, ok := opened.(tms.Keyring); ok {
			o.Keyring.Keep(keeps)
		}
		n.keyring = o.Keyring
		o.HTTP.Store, o.HTTP.Access = access.Wrap(n.sweeper.Store(), o.Keyring, keys), o.Keyring
	}
	if o.Audit != nil {
		written := audit.Wrap(o.HTTP.Store, o.audits(keys))
		o.HTTP.Store, o.HTTP.Denied, o.HTTP.TellsVisits = written, written.Denied, true
	}
	if o.HTTP.Limited = limited; o.Keyring != nil || !o.Rate.IsZero() {
		o.HTTP.Store = limit.Wrap(o.HTTP.Store, limiterOf(opened), o.payer(), limited)
		o.HTTP.TellsVisits = true
	}
	n.server = server.New(o.HTTP)
	return n
}

// audits says how changes are written down.
func (o Options) audits(keys secret.Source) audit.Config {
	c := audit.Config{Log: o.Audit, Required: o.Required, Keys: keys, Who: func(context.Context) string { return "" }}
	if ring := o.Keyring; ring != nil {
		c.Who = func(ctx context.Context) string {
			caller, _ := ring.Who(ctx)
			return caller.Key
		}
	}
	return c
}

// limiterOf returns a limiter for all servers of the store, or where it is one server's own, for that.
func limiterOf(opened tms.Store) limit.Limiter {
	if source, ok := opened.(limit.Source); ok {
		return limit.NewShared(source)
	}
	return limit.NewLocal(nil)
}

// payer returns who pays for the call of a context: the caller's key, or where nobody is asked for one, the address.
func (o Options) payer() func(context.Context) limit.Payer {
	rate := o.Rate
	if ring := o.Keyring; ring != nil {
		return func(ctx context.Context) limit.Payer { return ring.Payer(ctx, rate) }
	}
	return func(ctx context.Context) limit.Payer {
		visit := limit.VisitOf(ctx)
		if visit == nil {
			return limit.Payer{}
		}
		return limit.Payer{Name: "address/" + limit.Network(visit.Address).String(), By: "address", Rate: rate}
	}
}

// Store returns the store of the node: what it holds can be looked at and changed there without HTTP.
func (n *Node) Store() tms.Sweeper { return n.store }

// Handler returns the handler of all routes, for who serves them by other means than [Node.Serve].
func (n *Node) Handler() http.Handler { return n.server.Handler() }

// Sweep is the expiry manager at work, until ctx ends. [Node.Serve] runs it.
func (n *Node) Sweep(ctx context.Context) { n.sweeper.Run(ctx) }

// Look makes the pools of the configuration, where that has not been done, reads the keys in the store, and returns why
// the store is not ready, if it is not. It returns an error where the store refuses those pools for good.
func (n *Node) Look(ctx context.Context) (unready, err error) {
	unready = n.store.look(ctx)
	if n.keyring != nil {
		n.keyring.Read(ctx) // Serve tells where that goes on to fail
	}
	if n.store.hopeless(unready) {
		return nil, unready
	}
	return unready, nil
}

// Serve serves on the listener, with the expiry manager and a watch over the store beside it, until ctx ends, the store
// gives up, or it refuses the pools of the configuration. When it returns, all of that has ended. Unready is what
// [Node.Look] said.
func (n *Node) Serve(ctx context.Context, listener net.Listener, unready error) error {
	ctx, cancel := context.WithCancel(ctx)
	var background sync.WaitGroup
	var refused error // of the watch, to be read when it has ended
	background.Go(func() { awaitFailure(ctx, n.opened, cancel) })
	background.Go(func() { n.sweeper.Run(ctx) })
	if n.keyring != nil {
		background.Go(func() { n.keyring.Follow(ctx, n.logger) })
	}
	background.Go(func() {
		if refused = n.store.watch(ctx, unready); refused != nil {
			cancel()
		}
	})
	err := n.server.Serve(ctx, listener)
	cancel()
	background.Wait()
	return errors.Join(err, refused)
}

// Close ends what waits, and closes the store.
func (n *Node) Close() error { return n.waiting.Close() }

// awaitFailure calls cancel when a store gives up because it cannot keep its promises. Its Close then says why.
func awaitFailure(ctx context.Context, store tms.Store, cancel context.CancelFunc) {
	failer, ok := store.(interface{ Failed() <-chan struct{} })
	if !ok {
		return
	}
	select {
	case <-failer.Failed():
		cancel()
	case <-ctx.Done():
	}
}

func logSweep(logger *slog.Logger, pool string, e tms.Expired, err error) {
	switch {
	case errors.Is(err, tms.ErrPoolNotFound): // deleted since the pools were listed
	case err != nil && pool == "":
		logger.Warn("the pools could not be listed for a sweep, which will be tried again", "error", err)
	case err != nil:
		logger.Warn("a sweep failed and will be tried again", "pool", pool, "error", err)
	case e.Total() > 0:
		logger.Debug("swept", "pool", pool, "released", e.Released, "quarantined", e.Quarantined, "deleted", e.Deleted)
	}
}
