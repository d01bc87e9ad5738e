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

// validateStore refuses a store that does not exist, without repeating it: a URL may hold a password.
func (c *config) validateStore() error {
	kind, dir, _ := strings.Cut(c.Store, ":")
	switch {
	case kind == "embedded" && dir != "", kind == "memory" && dir == "":
		return nil
	case kind == "redis", kind == "rediss":
		return c.validateRedis()
	}
	return errors.New("store: must be embedded:DIR, memory, redis://HOST:PORT or rediss://HOST:PORT")
}

func (c *config) validateRedis() error {
	store, err := openStore(c, nil) // it does not wait for Redis
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return store.Close()
}

func openStore(c *config, logger *slog.Logger) (tms.Sweeper, error) {
	kind, dir, _ := strings.Cut(c.Store, ":")
	switch kind {
	case "redis", "rediss":
		return redis.Open(redis.Options{URL: c.Store, Timeout: c.StoreTimeout, Logger: logger})
	default:
		store, err := embedded.Open(embedded.Options{Dir: dir, SyncInterval: time.Duration(c.Sync), Logger: logger})
		if errors.Is(err, embedded.ErrInUse) {
			err = fmt.Errorf("%w; stop it if it is a tms serve that should not be there, or choose another directory with "+
				"--store embedded:DIR", err)
		}
		return store, err
	}
}

// describeStore says for a person where the tokens are. It leaves out what may be a secret.
func describeStore(c *config) string {
	kind, dir, _ := strings.Cut(c.Store, ":")
	switch kind {
	case "embedded":
		if absolute, err := filepath.Abs(dir); err == nil {
			dir = absolute
		}
		return fmt.Sprintf("embedded, data directory %s, sync %s", dir, &c.Sync)
	case "memory":
		return "memory only, the tokens are gone when the server stops"
	}
	u, err := url.Parse(c.Store)
	if err != nil {
		return kind
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}
