package redistest

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/manankarani/token-manager/internal/loopback"
)

// Paired reports whether one of the nodes is the master, and the others have all its data.
func Paired(nodes []*Server) bool {
	following := 0
	for _, node := range nodes {
		if strings.Contains(node.Say("INFO replication"), "master_link_status:up") {
			following++
		}
	}
	return Master(nodes) != nil && following == len(nodes)-1
}

// Master returns which of the nodes takes itself for the master; nil: none, or more than one.
func Master(nodes []*Server) (master *Server) {
	for _, node := range nodes {
		if !strings.Contains(node.Say("INFO replication"), "role:master") {
			continue
		}
		if master != nil {
			return nil
		}
		master = node
	}
	return master
}

// Replica returns one of the nodes that follows another; nil: none does.
func Replica(nodes []*Server) *Server {
	for _, node := range nodes {
		if strings.Contains(node.Say("INFO replication"), "role:slave") {
			return node
		}
	}
	return nil
}

// NewReplicatedCluster starts a cluster of n masters, each of which has a replica that takes its place when it is away
// for a second. It returns each master with its replica. The arguments are those of [New].
func NewReplicatedCluster(t testing.TB, n int, args ...string) (pairs [][]*Server) {
	t.Helper()
	args = append([]string{"--cluster-node-timeout", "1000", "--cluster-replica-validity-factor", "0",
		"--repl-diskless-sync-delay", "0"}, args...)
	for _, master := range NewCluster(t, n, args...) {
		bus := portOf(loopback.Addr(t))
		replica := New(t, append([]string{"--cluster-enabled", "yes", "--cluster-port", bus}, args...)...)
		master.do("CLUSTER MEET 127.0.0.1 %s %s", portOf(replica.Addr), bus)
		replica.awaitCluster(n)
		replica.follow(master)
		pairs = append(pairs, []*Server{master, replica})
	}
	return pairs
}

// follow makes a node of a cluster the replica of another.
func (s *Server) follow(master *Server) {
	s.t.Helper()
	_, id, _ := strings.Cut(master.do("CLUSTER MYID"), "\n")
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		s.Say("CLUSTER REPLICATE " + strings.TrimSpace(id)) // which fails until it knows the master
		if Paired([]*Server{master, s}) {
			return
		}
	}
	s.t.Fatalf("%s does not follow %s", s.Addr, master.Addr)
}

// Say runs a command, and returns the beginning of its reply, or what went wrong.
func (s *Server) Say(command string) string {
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
