package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/expiry"
	"github.com/manankarani/token-manager/internal/server"
	"github.com/manankarani/token-manager/internal/telemetry"
	"github.com/manankarani/token-manager/internal/wait"
)

func newServe() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the tokens of a store over HTTP, until SIGINT or SIGTERM",
		Args:  cobra.NoArgs,
	}
	return withConfig(cmd, func(cmd *cobra.Command, c *config) error {
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		context.AfterFunc(ctx, stop)    // a second signal ends the process at once
		return serve(ctx, os.Stdout, c) // not that of the command: a greeting that nobody reads is no failure
	})
}

// serve serves until ctx ends or the store fails. It returns when the requests have ended, the expiry manager has, and
// the store is closed.
func serve(ctx context.Context, out io.Writer, c *config) (err error) {
	listener, err := listen(c)
	if err != nil {
		return err
	}
	defer listener.Close()
	signal.Ignore(syscall.SIGPIPE) // or a reader that has gone would end the server
	said := newSpool(out, sayMost, nil)
	defer said.end()
	logger, logged := c.log(os.Stderr)
	defer logged.end()
	if err := c.fitFiles(openFiles(), logger); err != nil {
		return err
	}
	opened, err := openStore(c, logger)
	if err != nil {
		return err
	}
	waiting := wait.Wrap(opened, wait.Options{Logger: logger})
	defer func() { err = errors.Join(err, waiting.Close()) }() // it closes the store as well

	var background sync.WaitGroup
	var refused error // of the watch, to be read when it has ended
	defer func() { background.Wait(); err = errors.Join(err, refused) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	background.Go(func() { awaitFailure(ctx, opened, cancel) })

	registry := telemetry.NewRegistry(versionText())
	telemetry.Dropped(registry, logged.dropped.Load)
	store := &configured{Sweeper: telemetry.Wrap(waiting, registry), pools: c.Pools, logger: logger}
	unready := store.look(ctx)
	if store.hopeless(unready) {
		return unready
	}
	background.Go(func() {
		if refused = store.watch(ctx, unready); refused != nil {
			cancel()
		}
	})
	sweeper := expiry.New(store, c.sweeps(registry, logger))
	background.Go(func() { sweeper.Run(ctx) })

	greet(said, c, listener.Addr(), unready)
	served := c.server(sweeper.Store(), registry, logger)
	served.Stopping, served.Backup = waiting.Stop, backups(opened)
	return server.New(served).Serve(ctx, listener)
}

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

// sweeps returns the options of the expiry manager.
func (c *config) sweeps(registry prometheus.Registerer, logger *slog.Logger) expiry.Options {
	count := telemetry.Sweeps(registry)
	return expiry.Options{
		Limit:    c.SweepLimit,
		Interval: c.SweepInterval,
		Observe: func(pool string, e tms.Expired, err error) {
			count(pool, e, err)
			logSweep(logger, pool, e, err)
		},
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

// server returns what the HTTP server is made of.
func (c *config) server(store tms.Store, registry *prometheus.Registry, logger *slog.Logger) server.Config {
	return server.Config{
		Store:           store,
		Logger:          logger,
		Version:         versionText(),
		LocalOnly:       !c.Insecure,
		Metrics:         telemetry.Handler(registry),
		Observe:         telemetry.Requests(registry),
		HeaderTimeout:   c.HeaderTimeout,
		ReadTimeout:     c.ReadTimeout,
		WriteTimeout:    c.WriteTimeout,
		IdleTimeout:     c.IdleTimeout,
		MaxWait:         c.MaxWait,
		DrainDelay:      c.DrainDelay,
		ShutdownTimeout: c.ShutdownTimeout,
		MaxConnections:  c.MaxConnections,
		MaxWaiting:      c.MaxWaiting,
		MaxHeaderBytes:  c.MaxHeaderBytes,
		MaxBodyBytes:    c.MaxBodyBytes,
		MaxBodyMemory:   c.MaxBodyMemory,
	}
}
