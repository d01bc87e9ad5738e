package redistest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// MasterSet is the name by which Sentinels know the master.
const MasterSet = "tms-test"

// NewSentinels starts n Sentinels that watch over the master, and over the replicas that follow it. They take it for
// lost after a second.
func NewSentinels(t testing.TB, n int, master *Server) []*Server {
	t.Helper()
	host, port, _ := net.SplitHostPort(master.Addr)
	sentinels := make([]*Server, n)
	for i := range sentinels {
		s := prepare(t, nil)
		config := filepath.Join(s.dir, "sentinel.conf")
		text := fmt.Sprintf("sentinel monitor %s %s %s %d\nsentinel down-after-milliseconds %s 1000\n"+
			"sentinel failover-timeout %s 6000\n", MasterSet, host, port, n/2+1, MasterSet, MasterSet)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s.sentinel = config
		s.Start()
		sentinels[i] = s
	}
	return sentinels
}

// SentinelURL returns the address of the Sentinels as a store takes it.
func SentinelURL(sentinels []*Server) string {
	hosts := make([]string, len(sentinels))
	for i, s := range sentinels {
		hosts[i] = s.Addr
	}
	return "redis+sentinel://" + strings.Join(hosts, ",") + "/" + MasterSet
}
