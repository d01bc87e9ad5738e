package redistest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
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

// Follow makes a server the replica of another, and waits until it has its data.
func Follow(t testing.TB, replica, master *Server) {
	t.Helper()
	host, port, _ := net.SplitHostPort(master.Addr)
	replica.do("REPLICAOF %s %s", host, port)
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if strings.Contains(replica.do("INFO replication"), "master_link_status:up") {
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

// Paired reports whether one of two nodes is the master, and the other has all its data.
func Paired(nodes []*Server) bool {
	masters, following := 0, 0
	for _, node := range nodes {
		said := node.say("INFO replication")
		if strings.Contains(said, "role:master") {
			masters++
		}
		if strings.Contains(said, "master_link_status:up") {
			following++
		}
	}
	return masters == 1 && following == 1
}

// Failover asks a Sentinel for a failover, which it may refuse, as while another is on its way.
func Failover(sentinel *Server) { sentinel.say("SENTINEL FAILOVER " + MasterSet) }

// say runs a command, and returns the beginning of its reply, or what went wrong.
func (s *Server) say(command string) string {
	conn, err := net.DialTimeout("tcp", s.Addr, time.Second)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	fmt.Fprintf(conn, "%s\r\n", command)
	reply := make([]byte, 4096)
	size, _ := conn.Read(reply)
	return string(reply[:size])
}
