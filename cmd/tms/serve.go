package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/manankarani/token-manager/internal/expiry"
	"github.com/manankarani/token-manager/internal/node"
	"github.com/manankarani/token-manager/internal/server"
	"github.com/manankarani/token-manager/internal/telemetry"
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
	registry := telemetry.NewRegistry(versionText())
	telemetry.Dropped(registry, logged.dropped.Load)
	n := node.New(opened, node.Options{
		Pools:    c.Pools,
		HTTP:     server.Config{Version: versionText(), LocalOnly: !c.Insecure, Backup: backups(opened), Limits: c.Limits},
		Sweeps:   expiry.Options{Limit: c.SweepLimit, Interval: c.SweepInterval},
		Registry: registry,
		Logger:   logger,
	})
	defer func() { err = errors.Join(err, n.Close()) }() // it closes the store as well
	unready, err := n.Look(ctx)
	if err != nil {
		return err
	}
	greet(said, c, listener.Addr(), unready)
	return n.Serve(ctx, listener, unready)
}
