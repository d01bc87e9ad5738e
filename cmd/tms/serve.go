package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/manankarani/token-manager/internal/access"
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
		ctx, stop := endedBy(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
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
	admin, err := c.listenAdmin()
	if err != nil {
		return err
	}
	defer admin.serve()()
	signal.Ignore(syscall.SIGPIPE) // or a reader that has gone would end the server
	said := newSpool(out, sayMost, nil)
	defer said.end()
	logger, logged := c.log(os.Stderr)
	defer logged.end()
	if err := c.fitFiles(openFiles(), logger); err != nil {
		return err
	}
	ring := c.keyring()
	certificate, err := c.certificate()
	if err != nil {
		return err
	}
	rate, err := c.rate()
	failedAuth, failed := c.failedAuth()
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	audited, endAudit, err := c.auditSettings.open(logger)
	if err != nil {
		return err
	}
	defer endAudit()
	opened, err := openStore(c, logger)
	if err != nil {
		return err
	}
	registry := telemetry.NewRegistry(versionText())
	telemetry.Dropped(registry, logged.dropped.Load)
	if audited != nil {
		telemetry.AuditDropped(registry, audited.Dropped)
	}
	n := node.New(opened, node.Options{
		Pools:   c.Pools,
		Keyring: ring,
		Rate:    rate,
		Audit:   audited, Required: c.Audit == auditRequired,
		HTTP: server.Config{Version: versionText(), Durability: durability(c), Certificate: certificate,
			LocalOnly: !c.Insecure && c.Auth == authOff, Backup: backups(opened), Limits: c.Limits,
			FailedAuth: failedAuth, TrustedProxies: c.TrustedProxies, LogRequests: c.LogRequests},
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
	if admin.server != nil {
		fmt.Fprintf(said, "admin: http://%s%s\n", admin.listener.Addr(), adminPath)
	}
	defer c.watch(ring, certificate, logger)()
	defer tellManager(ctx, logger)()
	return n.Serve(ctx, listener, unready)
}

// tellManager tells the service manager that the server can be asked, and when ctx ends that it stops. A server whose
// store is not fit says so by /readyz: to start it again would not mend that.
func tellManager(ctx context.Context, logger *slog.Logger) (end func()) {
	tell := func(state string) {
		if err := notify(state); err != nil {
			logger.Warn("the service manager cannot be told", "state", state, "error", err)
		}
	}
	tell(notifyReady)
	stop := context.AfterFunc(ctx, func() { tell(notifyStopping) })
	return func() { stop() }
}

// watch reads the keys and the certificate again when they change, until it is told to end.
func (c *config) watch(ring *access.Keyring, certificate *server.Certificate, logger *slog.Logger) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var watches sync.WaitGroup
	if ring != nil {
		watches.Go(func() { watchFile(ctx, keysKey, c.rereadKeys(ring), logger) })
	}
	if certificate != nil {
		watches.Go(func() { watchFile(ctx, "tls_cert", certificate.Reread, logger) })
	}
	return func() { cancel(); watches.Wait() }
}

// address returns the configured address.
func (c *config) address() (*net.TCPAddr, error) {
	if c.Listen == "" { // which the resolver would take for any address and a free port
		return nil, errors.New("listen: must be HOST:PORT, as 127.0.0.1:8080, is empty")
	}
	address, err := net.ResolveTCPAddr("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen: must be HOST:PORT, as 127.0.0.1:8080: %w", err)
	}
	return address, nil
}

// ownAddress returns the configured address as one to listen on. While authentication is off it refuses one that other
// machines can reach, unless the operator insists.
func (c *config) ownAddress() (*net.TCPAddr, error) {
	address, err := c.address()
	plain := c.TLSCert == "" && len(c.TrustedProxies) == 0
	if err == nil && !address.IP.IsLoopback() && !c.Insecure && c.Auth == authKeys && plain {
		return nil, &ended{exitUsage,
			fmt.Errorf("listen: %s is reachable from other machines, and keys would go there in plain text; give it a "+
				"certificate (--tls-cert, --tls-key), name the proxies that speak TLS for it (--trusted-proxies), or, "+
				"where the network keeps strangers out, say --insecure (TMS_INSECURE=true)", c.Listen)}
	}
	if err == nil && !address.IP.IsLoopback() && !c.Insecure && c.Auth == authOff {
		return nil, &ended{exitUsage,
			fmt.Errorf("listen: %s is reachable from other machines, and authentication is off: whoever reaches it "+
				"could use every pool; listen on 127.0.0.1, or, where the network keeps strangers out, say --insecure "+
				"(TMS_INSECURE=true)", c.Listen)}
	}
	return address, err
}

// listen takes the configured address.
func listen(c *config) (net.Listener, error) {
	address, err := c.ownAddress()
	if err != nil {
		return nil, err
	}
	listener, err := net.ListenTCP("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%w: another process, perhaps another tms serve, listens there; stop it, or "+
			"choose another "+
			"address with --listen HOST:PORT", err)
	}
	return listener, err
}

// greet tells a person what is being served, why it is not ready if it is not, and what to try.
func greet(out io.Writer, c *config, address net.Addr, unready error) {
	tcp := address.(*net.TCPAddr)
	reach := "this address"
	if tcp.IP.IsUnspecified() {
		reach = "any address of this machine, on port " + strconv.Itoa(tcp.Port) + ","
	}
	fmt.Fprintf(out, "tms %s serves on %s://%s\n", versionText(), c.scheme(), tcp)
	fmt.Fprintf(out, "store: %s\n", describeStore(c))
	fmt.Fprintf(out, "durability: %s\n", durability(c))
	if c.Auth == authKeys {
		fmt.Fprintf(out, "authentication: by keys, of which the server has %d\n", len(c.Keys))
	} else {
		fmt.Fprintf(out, "authentication is off: whoever reaches %s can use every pool\n", reach)
	}
	if c.Audit != auditOff {
		fmt.Fprintf(out, "audit: %s\n", c.auditSettings.describe())
	}
	if unready != nil {
		fmt.Fprintf(out, "not ready: %s\n", node.Reason(unready))
		return
	}
	if c.Auth == authKeys {
		fmt.Fprintf(out, "try: TMS_KEY=… tms whoami --server %s://%s\n", c.scheme(), reachable(tcp))
		return
	}
	fmt.Fprintf(out, "try: curl -X POST %s://%s/generate-token\n", c.scheme(), reachable(tcp))
}

// reachable returns an address of this machine for one that a server listens on.
func reachable(address *net.TCPAddr) string {
	if address.IP.IsUnspecified() || address.IP == nil {
		address = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: address.Port}
	}
	return address.String()
}

// ownFiles is how many files a server may have open beside its connections: those of its store and of the log, and what
// the runtime needs. The embedded store opens two dozen, and up to as many more while it writes tables.
const ownFiles = 48

// fitFiles lowers the limit of connections to what the process may have open, beside the files that it needs: a store
// that can open none ends the server. It returns an error if too little is left.
func (c *config) fitFiles(mayOpen uint64, logger *slog.Logger) error {
	const needed = ownFiles + server.ReservedConnections
	if mayOpen >= needed+uint64(c.MaxConnections) {
		return nil
	}
	if mayOpen <= needed {
		return fmt.Errorf("the process may have %d files open and needs more than %d: raise its limit (ulimit -n)",
			mayOpen,
			needed)
	}
	most := int(mayOpen - needed)
	logger.Warn("max_connections is lowered, since the process may have few files open (ulimit -n)",
		"max_connections", most, "configured", c.MaxConnections, "files", mayOpen)
	c.MaxConnections = most
	return nil
}
