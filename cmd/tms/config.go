package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/pflag"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/access"
	"github.com/manankarani/token-manager/internal/server"
	"github.com/manankarani/token-manager/internal/store/redis"
)

// config holds the values of the settings, and the pools of the file.
type config struct {
	Config   string
	Listen   string
	Insecure bool

	AdminListen string

	Store        string
	Sync         syncInterval
	StoreTimeout time.Duration

	RedisReplicas  int
	RedisOldMaster time.Duration
	RedisLossless  bool

	server.Limits
	limitSettings
	auditSettings

	SweepLimit    int
	SweepInterval time.Duration

	LogFormat   string
	LogLevel    logLevel
	LogRequests string

	Auth        string
	TLSCert     string
	TLSKey      string
	TLSClientCA string

	Pools map[string]tms.PolicyChange
	Keys  []access.Key

	Issuers []*access.Issuer
}

// settings is the one table of all settings: name, default and meaning. The flag --read-timeout is TMS_READ_TIMEOUT in
// the environment and read_timeout in the file.
func (c *config) settings() *pflag.FlagSet {
	fs := pflag.NewFlagSet("settings", pflag.ContinueOnError)
	fs.SortFlags = false
	http := server.Config{}.WithDefaults().Limits

	fs.StringVar(&c.Config, configFlag, "", "YAML `file` with settings and pools")
	fs.StringVar(&c.Listen, "listen", "127.0.0.1:8080", "`address` to listen on; port 0 takes a free one")
	fs.BoolVar(&c.Insecure, "insecure", false,
		"listen beyond loopback, and answer to any Host, although authentication or TLS is off")

	fs.StringVar(&c.AdminListen, "admin-listen", "",
		"`address` of this machine for profiles of the server (/debug/pprof/); without one there are none")

	fs.StringVar(&c.Auth, "auth", authOff, "`whom` to let in: off (everybody, for all), or keys (those of the file)")

	fs.StringVar(&c.TLSCert, "tls-cert", "",
		"`file` with the certificate of the server, and those that vouch for it, as PEM; with it the server speaks TLS")
	fs.StringVar(&c.TLSKey, "tls-key", "", "`file` with the key of that certificate, as PEM")
	fs.StringVar(&c.TLSClientCA, "tls-client-ca", "",
		"`file` with the certificates of those who vouch for clients, as PEM; what such a client may, keys say")

	fs.StringVar(&c.Store, "store", "embedded:./data",
		"`where` the tokens are: embedded:DIR, memory, redis://HOST:PORT, redis+sentinel://HOST,HOST,HOST/NAME, "+
			"redis+cluster://HOST,HOST, or one of these with rediss for TLS")
	fs.Var(&c.Sync, "sync",
		"`when` the embedded store writes to disk: always (before every answer) or an interval, as 10ms")
	fs.DurationVar(&c.StoreTimeout, "store-timeout", redis.DefaultTimeout,
		"longest `time` that one call of Redis takes")
	fs.IntVar(&c.RedisReplicas, "redis-replicas", 0,
		"replicas of Redis that must have what an answer rests on before it is given")
	fs.DurationVar(&c.RedisOldMaster, "redis-old-master", 0,
		"`time` for which a Redis that was given up may still be asked, where a proxy or a name fails over; 0: 3s "+
			"with Sentinels and in a cluster, else none")
	fs.BoolVar(&c.RedisLossless, "redis-lossless", false,
		"Redis loses nothing that it has answered: it is alone, and runs with appendfsync always")

	fs.DurationVar(&c.HeaderTimeout, "header-timeout", http.HeaderTimeout,
		"longest `time` in which a request's header arrives")
	fs.DurationVar(&c.ReadTimeout, "read-timeout", http.ReadTimeout, "longest `time` in which a whole request arrives")
	fs.DurationVar(&c.WriteTimeout, "write-timeout", http.WriteTimeout,
		"longest `time` from a request's header to the end of its answer")
	fs.DurationVar(&c.IdleTimeout, "idle-timeout", http.IdleTimeout,
		"`time` after which a connection without requests is closed")
	fs.DurationVar(&c.MaxWait, "max-wait", http.MaxWait,
		"longest `time` that an assign may ask to wait for a token; it comes on top of --write-timeout")
	fs.DurationVar(&c.DrainDelay, "drain-delay", http.DrainDelay,
		"`time` that a server that is told to stop goes on, not ready, so that load balancers notice")
	fs.DurationVar(&c.ShutdownTimeout, "shutdown-timeout", http.ShutdownTimeout,
		"`time` that requests have to end when the server stops")
	fs.IntVar(&c.MaxConnections, "max-connections", http.MaxConnections,
		"most connections at once; more take the place of those that are idle")
	fs.IntVar(&c.MaxWaiting, "max-waiting", 0,
		"most assigns that wait for a token at once, fewer than --max-connections; 0: the half of these")
	fs.IntVar(&c.MaxHeaderBytes, "max-header-bytes", http.MaxHeaderBytes, "largest header of a request, in `bytes`")
	fs.Int64Var(&c.MaxBodyBytes, "max-body-bytes", http.MaxBodyBytes, "largest body of a request, in `bytes`")
	fs.Int64Var(&c.MaxBodyMemory, "max-body-memory", http.MaxBodyMemory,
		"most memory for the bodies of all requests, beyond 64 KiB each, in `bytes`; an address has a quarter")

	c.limitSettings.add(fs)
	c.auditSettings.add(fs)

	fs.IntVar(&c.SweepLimit, "sweep-limit", 100, "most expiries that one sweep of a pool carries out")
	fs.DurationVar(&c.SweepInterval, "sweep-interval", time.Second,
		"longest `time` between two sweeps of a pool that the server uses")

	fs.StringVar(&c.LogFormat, "log-format", "text", "`format` of the log: text or json")
	fs.Var(&c.LogLevel, "log-level", "lowest `level` that is logged: debug, info, warn or error")
	fs.StringVar(&c.LogRequests, "log-requests", server.LogNone,
		"`which` requests have a line of the log of their own: off, errors (those that are refused or fail), or all")
	return fs
}

// validate refuses values that no setting of that kind can have, all at once.
func (c *config) validate() error {
	_, err := c.address()
	return errors.Join(
		err,
		oneOf("log_format", c.LogFormat, "text", "json"),
		oneOf("log_requests", c.LogRequests, server.LogNone, server.LogErrors, server.LogAll),
		c.validateAuth(),
		c.validateTLS(),
		c.validateIssuers(),
		c.validateLimits(),
		c.auditSettings.validate(),
		positive("store_timeout", c.StoreTimeout),
		notNegative("redis_replicas", c.RedisReplicas),
		notNegative("redis_old_master", c.RedisOldMaster),
		positive("header_timeout", c.HeaderTimeout),
		positive("read_timeout", c.ReadTimeout),
		positive("write_timeout", c.WriteTimeout),
		positive("idle_timeout", c.IdleTimeout),
		positive("max_wait", c.MaxWait),
		positive("shutdown_timeout", c.ShutdownTimeout),
		notNegative("drain_delay", c.DrainDelay),
		positive("max_connections", c.MaxConnections),
		c.validateWaiting(),
		positive("max_header_bytes", c.MaxHeaderBytes),
		positive("max_body_bytes", c.MaxBodyBytes),
		positive("max_body_memory", c.MaxBodyMemory),
		positive("sweep_limit", c.SweepLimit),
		positive("sweep_interval", c.SweepInterval),
		c.validateStore(),
	)
}

// validateWaiting refuses to let waiters take every connection.
func (c *config) validateWaiting() error {
	if c.MaxWaiting >= c.MaxConnections && c.MaxWaiting > 1 {
		return fmt.Errorf("max_waiting: must be less than max_connections (%d), is %d", c.MaxConnections, c.MaxWaiting)
	}
	return notNegative("max_waiting", c.MaxWaiting)
}

func oneOf(key, value string, allowed ...string) error {
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	return fmt.Errorf("%s: must be %s, is %q", key, strings.Join(allowed, " or "), value)
}

func positive[T int | int64 | time.Duration](key string, value T) error {
	if value > 0 {
		return nil
	}
	return fmt.Errorf("%s: must be more than 0, is %v", key, value)
}

func notNegative[T int | time.Duration](key string, value T) error {
	if value >= 0 {
		return nil
	}
	return fmt.Errorf("%s: must not be negative, is %v", key, value)
}

const logMost = 1 << 20 // bytes of the log that nobody has read yet

// log returns the log of the process, and what it is written through, so that who does not read it holds up no request.
// It goes to standard error; standard output has only what a person asked for.
func (c *config) log(out io.Writer) (*slog.Logger, *spool) {
	spool := newSpool(out, logMost, func(out io.Writer, lines int64) error {
		record := slog.NewRecord(time.Now(), slog.LevelWarn, "nobody read the log in time, and lines were dropped", 0)
		record.Add("lines", lines)
		return c.logHandler(out).Handle(context.Background(), record)
	})
	return slog.New(c.logHandler(spool)), spool
}

func (c *config) logHandler(out io.Writer) slog.Handler {
	options := &slog.HandlerOptions{Level: slog.Level(c.LogLevel)}
	if c.LogFormat == "json" {
		return slog.NewJSONHandler(out, options)
	}
	return slog.NewTextHandler(out, options)
}

// syncInterval is how long the embedded store may keep an answered step from the disk; zero is "always".
type syncInterval time.Duration

func (s *syncInterval) String() string {
	if *s == 0 {
		return "always"
	}
	return time.Duration(*s).String()
}

func (s *syncInterval) Set(text string) error {
	if text == "always" {
		*s = 0
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return fmt.Errorf("must be always, or an interval as 10ms, is %q", text)
	}
	*s = syncInterval(d)
	return nil
}

func (s *syncInterval) Type() string { return "always or duration" }

// logLevel is the lowest level that is logged; zero is info.
type logLevel slog.Level

func (l *logLevel) String() string { return strings.ToLower(slog.Level(*l).String()) }

func (l *logLevel) Set(text string) error {
	if err := (*slog.Level)(l).UnmarshalText([]byte(text)); err != nil {
		return fmt.Errorf("must be debug, info, warn or error, is %q", text)
	}
	return nil
}

func (l *logLevel) Type() string { return "level" }
