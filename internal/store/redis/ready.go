package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	tms "github.com/manankarani/token-manager"
)

// oldest is the first major version of Redis that has functions.
const oldest = 7

// Ready implements [tms.Readier]. The store is ready when Redis answers, takes the password, is of version 7.0 or
// later, never evicts a key, takes writes that need space, has the function library, which Ready loads where it is
// missing, and holds the data that the store found when it first connected. While Redis answers and is not fit, the
// store refuses new leases, too, until Ready finds that it is.
func (s *Store) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.link.timeout)
	defer cancel()
	client, err := s.link.connected(ctx)
	if err != nil {
		return outcome(err)
	}
	if err := s.judge(ctx, client); err != nil {
		s.heed(err)
		return err
	}
	if err := s.sentinels.vouch(); err != nil {
		return err
	}
	if err := s.recognise(ctx); err != nil {
		return nilOr(err)
	}
	_, err = s.names(ctx, "", 1) // a cluster may be down although its servers are well
	return err
}

// prepare holds that Redis has functions, loads the library, and looks what the data is. One that is not fit for new
// leases may still be fit to end them.
func (s *Store) prepare(ctx context.Context, client rueidis.Client) error {
	for address, node := range client.Nodes() {
		s.sentinels.confirm(ctx, address)
		info, err := serverInfo(ctx, node)
		if err == nil {
			err = info.checkVersion()
		}
		if err != nil {
			return err
		}
	}
	var unfit unfitness
	if err := s.judge(ctx, client); err != nil && !errors.As(err, &unfit) {
		return err
	}
	err := s.recogniseOn(ctx, client)
	if tms.CodeOf(err) == tms.ErrStoreReset {
		return nil // the calls say so
	}
	return err
}

var errReplica = errors.New("it is a replica, which takes no writes")

// unfitness is why a Redis that answers is not fit for new leases.
type unfitness struct{ error }

func (u unfitness) Unwrap() error { return u.error }

// judge says why Redis is not fit, and remembers it for the calls. What it cannot ask, it does not judge.
func (s *Store) judge(ctx context.Context, client rueidis.Client) error {
	err := s.link.examine(ctx, client)
	var unfit unfitness
	switch {
	case err == nil:
		s.unfit.Store(nil)
	case errors.As(err, &unfit):
		s.unfit.Store(tms.Refuse(tms.ErrStoreUnavailable, "no new leases for now: %v", err))
	}
	return err
}

func (l *link) examine(ctx context.Context, client rueidis.Client) error {
	if err := l.load(ctx, client); err != nil {
		return unfitIfAnswered(fmt.Errorf("redis: the function library cannot be loaded: %w", err))
	}
	cluster := client.Mode() == rueidis.ClientModeCluster
	for address, node := range client.Nodes() {
		info, err := serverInfo(ctx, node)
		if err != nil {
			return fmt.Errorf("redis at %s: %s", address, explain(err))
		}
		if err := info.check(cluster); err != nil {
			return unfitness{fmt.Errorf("redis at %s: %w", address, err)}
		}
	}
	for address, node := range client.Nodes() {
		err := node.Do(ctx, node.B().Fcall().Function(fnFit).Numkeys(0).Build()).Error()
		if text, _ := asRedis(err); cluster && strings.HasPrefix(text, "READONLY") {
			continue // a replica
		}
		if err != nil {
			return unfitIfAnswered(fmt.Errorf("redis at %s takes no new leases: %w", address, err))
		}
	}
	return nil
}

func unfitIfAnswered(err error) error {
	if _, answered := asRedis(err); answered {
		return unfitness{err}
	}
	return err
}

// info is what a server says of itself.
type info map[string]string

func serverInfo(ctx context.Context, node rueidis.Client) (info, error) {
	text, err := node.Do(ctx, node.B().Info().Build()).ToString()
	return parseInfo(text), err
}

func parseInfo(text string) info {
	fields := info{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[name] = value
		}
	}
	return fields
}

// check says why a server is not fit. In a cluster a replica may be among the servers.
func (i info) check(cluster bool) error {
	if err := i.checkVersion(); err != nil {
		return err
	}
	switch policy := i["maxmemory_policy"]; {
	case policy != "noeviction":
		return fmt.Errorf("its maxmemory-policy is %q; it must be noeviction, or leases would be lost", policy)
	case i["loading"] == "1":
		return errors.New("it is still loading its data")
	case i["role"] == "slave" && !cluster:
		return errReplica
	}
	return nil
}

// checkVersion refuses a server without functions. Valkey has had them from its first version on.
func (i info) checkVersion() error {
	if i["valkey_version"] != "" || i["server_name"] == "valkey" {
		return nil
	}
	major, _, _ := strings.Cut(i["redis_version"], ".")
	if n, err := strconv.Atoi(major); err != nil || n < oldest {
		return fmt.Errorf("it is version %q; TMS needs Redis %d.0 or later, or Valkey", i["redis_version"], oldest)
	}
	return nil
}
