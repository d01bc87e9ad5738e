package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

// oldest is the first major version of Redis that has functions.
const oldest = 7

// Ready implements [tms.Readier]. The store is ready when Redis answers, takes the password, takes writes, is of
// version 7.0 or later, never evicts a key, and has the function library, which Ready loads where it is missing.
func (s *Store) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.link.timeout)
	defer cancel()
	client, err := s.link.connected(ctx)
	if err != nil {
		return outcome(err)
	}
	for address, node := range client.Nodes() {
		info, err := serverInfo(ctx, node)
		if err != nil {
			return fmt.Errorf("redis at %s: %s", address, explain(err))
		}
		if err := info.check(client.Mode() == rueidis.ClientModeCluster); err != nil {
			return fmt.Errorf("redis at %s: %w", address, err)
		}
	}
	if err := s.link.load(ctx, client); err != nil {
		return fmt.Errorf("redis: the function library cannot be loaded: %w", err)
	}
	_, err = s.names(ctx, "", 1) // a cluster may be down although its servers are well
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
		return errors.New("it is a replica, which takes no writes")
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
