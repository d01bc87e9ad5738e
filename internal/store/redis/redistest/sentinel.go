package redistest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
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

// Follow makes a server the replica of another, and waits until it has its data and the master counts it. A replica
// that is new is sent nothing, and no WAIT finds it, until it has spoken first, which takes up to a second.
func Follow(t testing.TB, replica, master *Server) {
	t.Helper()
	host, port, _ := net.SplitHostPort(master.Addr)
	replica.do("REPLICAOF %s %s", host, port)
	counted := regexp.MustCompile("port=" + portOf(replica.Addr) + ",state=online,offset=[1-9]")
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		master.Say("PUBLISH redistest follows\r\nWAIT 9 1") // which asks for its word
		if strings.Contains(replica.do("INFO replication"), "master_link_status:up") &&
			counted.MatchString(master.do("INFO replication")) {
			return
		}
	}
	t.Fatal("the replica does not follow")
}

// MasterOf returns which of the nodes a Sentinel takes for the master.
func MasterOf(t testing.TB, sentinel *Server, nodes []*Server) *Server {
	t.Helper()
	said := sentinel.do("SENTINEL GET-MASTER-ADDR-BY-NAME %s", MasterSet)
	for _, node := range nodes {
		if strings.Contains(said, "\n"+portOf(node.Addr)+"\r") {
			return node
		}
	}
	t.Fatalf("the master is none of the nodes: %q", said)
	return nil
}

// Failover asks a Sentinel for a failover, and reports whether it begins one. It refuses while another is on its way,
// and while it knows of no replica that is fit.
func Failover(sentinel *Server) bool {
	return strings.HasPrefix(sentinel.Say("SENTINEL FAILOVER "+MasterSet), "+OK")
}
