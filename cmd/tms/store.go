package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/embedded"
	"github.com/manankarani/token-manager/internal/store/redis"
)

// storeKind is one kind of store. Where is what the setting says after the kind.
type storeKind struct {
	check    func(c *config, where string) error
	open     func(c *config, where string, logger *slog.Logger) (tms.Sweeper, error)
	describe func(c *config, where string) string // for a person, without what may be a secret
	outlives func(c *config) string               // what its answers outlive, for a person
}

// storeKinds are the kinds of stores, by the word with which the setting begins.
var storeKinds = map[string]storeKind{
	"embedded": {
		func(_ *config, dir string) error { return orNoStore(dir != "") },
		openEmbedded,
		func(c *config, dir string) string {
			if absolute, err := filepath.Abs(dir); err == nil {
				dir = absolute
			}
			return "embedded, data directory " + dir
		},
		embeddedOutlives,
	},
	"memory": {
		func(_ *config, where string) error { return orNoStore(where == "") },
		openEmbedded,
		func(*config, string) string { return "memory" },
		func(*config) string { return "nothing outlives this process" },
	},
	"redis":           redisKind,
	"rediss":          redisKind,
	"redis+sentinel":  redisKind,
	"rediss+sentinel": redisKind,
	"redis+cluster":   redisKind,
	"rediss+cluster":  redisKind,
}

var redisKind = storeKind{checkRedis, openRedis, describeRedis, redisOutlives}

// kindOfStore returns the kind of the configured store, and what the setting says after it.
func (c *config) kindOfStore() (kind storeKind, where string, err error) {
	name, where, _ := strings.Cut(c.Store, ":")
	kind, known := storeKinds[name]
	return kind, where, orNoStore(known)
}

// orNoStore returns the error of a store that does not exist, without repeating it: a URL may hold a password.
func orNoStore(ok bool) error {
	if ok {
		return nil
	}
	return errors.New("store: must be embedded:DIR, memory, redis://HOST:PORT, redis+sentinel://HOST,HOST,HOST/NAME, " +
		"redis+cluster://HOST,HOST, or one of these with rediss for TLS")
}

func (c *config) validateStore() error {
	kind, where, err := c.kindOfStore()
	if err != nil {
		return err
	}
	return kind.check(c, where)
}

func openStore(c *config, logger *slog.Logger) (tms.Sweeper, error) {
	kind, where, err := c.kindOfStore()
	if err != nil {
		return nil, err
	}
	return kind.open(c, where, logger)
}

// durability says for a person what an answer outlives: at the start, and in /readyz.
func durability(c *config) string {
	kind, _, err := c.kindOfStore()
	if err != nil {
		return err.Error()
	}
	return kind.outlives(c)
}

// describeStore says for a person where the tokens are.
func describeStore(c *config) string {
	kind, where, err := c.kindOfStore()
	if err != nil {
		return err.Error()
	}
	return kind.describe(c, where)
}

func openEmbedded(c *config, dir string, logger *slog.Logger) (tms.Sweeper, error) {
	store, err := embedded.Open(embedded.Options{Dir: dir, SyncInterval: time.Duration(c.Sync), Logger: logger})
	switch {
	case errors.Is(err, embedded.ErrInUse):
		return nil, fmt.Errorf("%w; stop it if it is a tms serve that should not be there, or choose another "+
			"directory with "+
			"--store embedded:DIR", err)
	case err != nil:
		return nil, err
	}
	return store, nil
}

func openRedis(c *config, _ string, logger *slog.Logger) (tms.Sweeper, error) {
	store, err := redis.Open(redis.Options{URL: c.Store, Timeout: c.StoreTimeout, OldMaster: c.RedisOldMaster,
		Replicas: c.RedisReplicas, Lossless: c.RedisLossless, Logger: logger})
	if err != nil {
		return nil, err
	}
	return store, nil
}

// checkRedis opens the store, which does not wait for Redis.
func checkRedis(c *config, where string) error {
	store, err := openRedis(c, where, nil)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return store.Close()
}

func describeRedis(c *config, _ string) string {
	u, err := url.Parse(c.Store)
	if err != nil {
		return "redis"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

func embeddedOutlives(c *config) string {
	if c.Sync == 0 {
		return "an answer outlives a kill and a power cut (sync always)"
	}
	return fmt.Sprintf("an answer outlives a kill; a power cut loses those of the last %s, and the pools settle "+
		"(sync interval)", &c.Sync)
}

func redisOutlives(c *config) string {
	switch {
	case c.RedisReplicas > 0 && c.RedisLossless:
		return fmt.Sprintf("an answer is known to the master and %d of its replicas, which redis_lossless says are "+
			"all; no pool settles", c.RedisReplicas)
	case c.RedisReplicas > 0:
		return fmt.Sprintf("an answer is known to the master and %d of its replicas, and lost only with all of these; "+
			"after a failover the pools settle", c.RedisReplicas)
	case c.RedisLossless:
		return "an answer outlives a restart of Redis, as redis_lossless says; no pool settles"
	}
	return "an answer is kept as Redis keeps it (appendfsync); after a restart or a failover the pools settle"
}
