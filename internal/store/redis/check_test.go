package redis_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/rueidis"
)

// checkRedis holds what must be true of every key at rest: each token stands in exactly one set; assigned tokens, and
// no others, have a lease string, with a TTL; cooling tokens, and no others, a last sign of life beside; metadata is
// that of living tokens; every key belongs to a pool that the index names.
func checkRedis(ctx context.Context, c rueidis.Client) error {
	keys, err := c.Do(ctx, c.B().Keys().Pattern("tms:*").Build()).AsStrSlice()
	if err != nil {
		return err
	}
	names, err := c.Do(ctx, c.B().Zrange().Key("tms:pools").Min("0").Max("-1").Build()).AsStrSlice()
	if err != nil {
		return err
	}
	pools := map[string]*poolKeys{}
	for _, name := range names {
		pools[name] = &poolKeys{client: c, prefix: "tms:{" + name + "}:", places: map[string][]string{}}
	}
	for _, key := range keys {
		pool, rest, found := strings.Cut(strings.TrimPrefix(key, "tms:{"), "}:")
		switch {
		case key == "tms:pools":
		case !found || pools[pool] == nil:
			return fmt.Errorf("key %q belongs to no pool", key)
		default:
			pools[pool].keys = append(pools[pool].keys, rest)
		}
	}
	for name, p := range pools {
		if err := p.check(ctx); err != nil {
			return fmt.Errorf("pool %q: %w", name, err)
		}
	}
	return nil
}

// poolKeys is what Redis holds of one pool.
type poolKeys struct {
	client rueidis.Client
	prefix string
	keys   []string            // without the prefix
	places map[string][]string // token -> the sets and strings that name it
	leases rueidis.Commands    // that ask for the TTLs of lease strings
}

func (p *poolKeys) check(ctx context.Context) error {
	var errs []error
	made := false
	for _, key := range p.keys {
		kind, token, isString := strings.Cut(key, ":")
		switch {
		case key == "pool":
			made = true
		case isString:
			p.note(token, kind)
			if kind == "lease" {
				p.leases = append(p.leases, p.client.B().Pttl().Key(p.prefix+key).Build())
			}
		default:
			errs = append(errs, p.noteSet(ctx, key))
		}
	}
	errs = append(errs, p.checkTTLs(ctx))
	if !made {
		errs = append(errs, errors.New("it is in the index and has no hash"))
	}
	for token, places := range p.places {
		errs = append(errs, checkPlaces(token, places))
	}
	return errors.Join(errs...)
}

func (p *poolKeys) note(token, place string) { p.places[token] = append(p.places[token], place) }

func (p *poolKeys) noteSet(ctx context.Context, set string) error {
	tokens, err := p.client.Do(ctx, p.client.B().Zrange().Key(p.prefix+set).Min("0").Max("-1").Build()).AsStrSlice()
	for _, token := range tokens {
		p.note(token, set)
	}
	return err
}

// checkTTLs holds that every lease string has a TTL.
func (p *poolKeys) checkTTLs(ctx context.Context) error {
	for _, result := range p.client.DoMulti(ctx, p.leases...) {
		left, err := result.AsInt64()
		if err == nil && left <= 0 {
			err = fmt.Errorf("a lease string has a TTL of %d ms", left)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkPlaces holds that a token's places go together.
func checkPlaces(token string, places []string) error {
	has := map[string]int{}
	for _, place := range places {
		has[place]++
	}
	sets := has["available"] + has["assigned"] + has["cooling"] + has["quarantined"]
	if sets == 1 && has["lease"] == has["assigned"] && has["seen"] == has["cooling"] {
		return nil
	}
	return fmt.Errorf("token %q stands in %v", token, places)
}
