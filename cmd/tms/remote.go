package main

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/client"
)

const (
	serverVariable = envPrefix + "SERVER"
	defaultServer  = "http://127.0.0.1:8080"
)

// remote is a command that asks a server.
type remote struct {
	*cobra.Command
	*client.Client

	server string
	keySource
	secrecy  secrecy
	retryFor time.Duration
	pool     string
	output   string
	quiet    bool

	connections int // of the client at once; zero: no limit
}

// asksPool is asksServer for a command that works in the pool of its flag --pool.
func asksPool(cmd *cobra.Command, forms []string, run func(r *remote, args []string) error) *cobra.Command {
	r := &remote{Command: cmd}
	cmd.Flags().StringVarP(&r.pool, "pool", "p", "",
		fmt.Sprintf("`name` of the pool (default $%s, or %s)", poolVariable, tms.DefaultPool))
	cmd.RegisterFlagCompletionFunc("pool", completePools)
	return r.prepare(forms, func(r *remote, args []string) error {
		if err := r.choosePool(); err != nil {
			return usage("%v", err)
		}
		return run(r, args)
	})
}

// choosePool takes the pool of the environment where no flag names one.
func (r *remote) choosePool() error {
	if r.pool == "" {
		r.pool = cmp.Or(os.Getenv(poolVariable), tms.DefaultPool)
		return tms.ValidatePoolName(poolVariable, r.pool)
	}
	return nil
}

// asksServer gives the command, after its own flags, those of all that ask a server, and runs it with a client. The
// forms are those that its data can be written in, the first is the default; without any there is no flag for them.
func asksServer(cmd *cobra.Command, forms []string, run func(r *remote, args []string) error) *cobra.Command {
	r := &remote{Command: cmd}
	return r.prepare(forms, run)
}

func (r *remote) prepare(forms []string, run func(r *remote, args []string) error) *cobra.Command {
	flags := r.Flags()
	flags.SortFlags = false
	r.addOutput(forms)
	flags.BoolVarP(&r.quiet, "quiet", "q", false, "say nothing but data and errors")
	flags.StringVar(&r.server, "server", "",
		fmt.Sprintf("`URL` of the server (default $%s, or %s)", serverVariable, defaultServer))
	flags.StringVar(&r.keySource.file, "key-file", "",
		fmt.Sprintf("`PATH` of the file with the key for the server (default $%s, the key itself)", keyVariable))
	r.secrecy.add(flags)
	flags.DurationVar(&r.retryFor, "retry-for", time.Second, "`time` for which a request that failed is repeated")
	r.RunE = func(_ *cobra.Command, args []string) error {
		if err := r.connect(forms); err != nil {
			return err
		}
		defer r.Close()
		return run(r, args)
	}
	return r.Command
}

// connect checks the common flags and makes the client, which asks nothing yet.
func (r *remote) connect(forms []string) (err error) {
	if err := oneOf("--output", r.output, forms...); len(forms) > 0 && err != nil {
		return usage("%v", err)
	}
	if err := r.checkGiven(); err != nil {
		return err
	}
	if r.pool != "" {
		if err := tms.ValidatePoolName("--pool", r.pool); err != nil {
			return usage("%v", err)
		}
	}
	if _, err := r.key(); err != nil {
		if r.keySource.file != "" {
			err = fmt.Errorf("--key-file: %w", detailOf(err))
		}
		return usage("%v", err)
	}
	trusted, err := r.secrecy.orVariables().config()
	if err != nil {
		return usage("%v", err)
	}
	r.server = serverURL(r.server)
	options := []client.Option{client.WithRetryFor(r.retryFor), client.WithUserAgent("tms/" + versionText()),
		client.WithKeyFrom(r.key), client.WithTLS(trusted)}
	if r.connections > 0 {
		options = append(options, client.WithHTTPClient(httpClient(r.connections, trusted)))
	}
	r.Client, err = client.New(r.server, options...)
	if err != nil {
		return usage("--server: %v", err)
	}
	return nil
}

// checkGiven refuses a flag with an empty text, as --pool "$UNSET" is: to take it for one that was not given would mean
// another pool, or no lease_id.
func (r *remote) checkGiven() (err error) {
	r.Flags().Visit(func(f *pflag.Flag) {
		if err == nil && f.Value.Type() == "string" && f.Value.String() == "" {
			err = usage("--%s: must not be empty", f.Name)
		}
	})
	return err
}

// httpClient returns one with so many connections, which stay open.
func httpClient(connections int, trusted *tls.Config) *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxConnsPerHost, t.MaxIdleConnsPerHost, t.MaxIdleConns = connections, connections, connections
	t.DisableCompression = true
	t.TLSClientConfig = trusted.Clone()
	return &http.Client{Transport: t}
}

func serverURL(flag string) string { return cmp.Or(flag, os.Getenv(serverVariable), defaultServer) }

// tried returns what became of something that was tried. A nil err is returned as it is.
func (r *remote) tried(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	wait, _ := r.Flags().GetDuration("wait") // zero where there is no such flag
	return &failure{what: fmt.Sprintf(format, args...), pool: r.pool, waited: wait > 0, retryFor: r.retryFor, err: err}
}

// asked is tried for what changes nothing.
func (r *remote) asked(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &failure{what: fmt.Sprintf(format, args...), pool: r.pool, reads: true, retryFor: r.retryFor, err: err}
}

// warn tells a person what is to be known of what was done.
func (r *remote) warn(warnings []string) {
	for _, text := range warnings {
		r.say("warning: %s", text)
	}
}

// say tells a person something, on standard error.
func (r *remote) say(format string, args ...any) {
	if !r.quiet {
		fmt.Fprintf(r.ErrOrStderr(), format+"\n", args...)
	}
}
