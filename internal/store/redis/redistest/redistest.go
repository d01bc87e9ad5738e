// Package redistest starts real Redis servers for tests and benchmarks.
package redistest

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/manankarani/token-manager/internal/loopback"
)

// Server is a redis-server process on a free port of the loopback interface, with a data directory of its own.
type Server struct {
	Addr string // host:port

	t    testing.TB
	dir  string
	args []string
	env  []string // nil: that of the test

	sentinel string // the configuration of a Sentinel

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

// New starts a Redis server that keeps nothing on disk, unless the arguments say so. The arguments are options of
// redis-server such as "--requirepass", "secret". The server ends with the test, which can stop and restart it before.
func New(t testing.TB, args ...string) *Server {
	t.Helper()
	s := prepare(t, args)
	s.Start()
	return s
}

// prepare returns a server that is yet to be started.
func prepare(t testing.TB, args []string) *Server {
	t.Helper()
	s := &Server{t: t, dir: t.TempDir(), args: args, Addr: loopback.Addr(t)}
	t.Cleanup(func() {
		if s.cmd != nil {
			s.Kill()
		}
	})
	return s
}

const slots = 16384 // of a cluster

// NewCluster starts a cluster of n masters, which share its slots evenly. The arguments are those of [New].
func NewCluster(t testing.TB, n int, args ...string) []*Server {
	t.Helper()
	nodes := make([]*Server, n)
	for i := range nodes {
		bus := portOf(loopback.Addr(t)) // by default 10,000 above the port, which not every port leaves room for
		nodes[i] = New(t, append([]string{"--cluster-enabled", "yes", "--cluster-port", bus}, args...)...)
		nodes[i].do("CLUSTER ADDSLOTSRANGE %d %d", i*slots/n, (i+1)*slots/n-1)
		nodes[i].do("CLUSTER SET-CONFIG-EPOCH %d", i+1)
		if i > 0 {
			nodes[0].do("CLUSTER MEET 127.0.0.1 %s %s", portOf(nodes[i].Addr), bus)
		}
	}
	AwaitCluster(nodes)
	return nodes
}

// AwaitCluster returns when all nodes know each other, and who has which slots.
func AwaitCluster(nodes []*Server) {
	for _, node := range nodes {
		node.t.Helper()
		node.awaitCluster(len(nodes))
	}
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// awaitCluster returns when the server knows all n nodes and who has which slots.
func (s *Server) awaitCluster(n int) {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		info := s.do("CLUSTER INFO")
		if strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprintf("cluster_size:%d\r", n)) {
			return
		}
	}
	s.t.Fatalf("the node at %s sees no cluster of %d", s.Addr, n)
}

// do runs a command that must succeed and returns the beginning of its reply.
func (s *Server) do(format string, args ...any) string {
	s.t.Helper()
	conn, err := net.DialTimeout("tcp", s.Addr, time.Second)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(conn, format+"\r\n", args...)
	reply := make([]byte, 4096)
	size, err := conn.Read(reply)
	if err != nil || reply[0] == '-' {
		s.t.Fatalf(format+": %s, error %v", append(args, reply[:size], err)...)
	}
	return string(reply[:size])
}

// URL returns the server's address as a store takes it.
func (s *Server) URL() string { return "redis://" + s.Addr }

// Pid returns the number of the server's process.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// Start starts the process again, on the same port and data directory, and waits until it takes connections.
func (s *Server) Start() {
	s.t.Helper()
	host, port, _ := net.SplitHostPort(s.Addr)
	args := append([]string{"--bind", host, "--port", port, "--dir", s.dir, "--save", "", "--logfile", "log"},
		s.args...)
	if s.sentinel != "" {
		args = []string{s.sentinel, "--sentinel", "--bind", host, "--port", port, "--dir", s.dir, "--logfile", "log"}
	}
	s.cmd = exec.Command("redis-server", args...)
	s.cmd.Env = s.env
	if err := s.cmd.Start(); err != nil {
		s.t.Fatalf("redis-server must be installed: %v", err)
	}
	s.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		cmd.Wait()
		close(done)
	}(s.cmd, s.done)
	s.awaitAnswer()
}

func (s *Server) awaitAnswer() {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if s.answers() {
			return
		}
		select {
		case <-s.done:
			log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			s.t.Fatalf("redis-server ended: %s", log)
		default:
		}
	}
	s.t.Fatalf("redis-server at %s does not answer", s.Addr)
}

// answers reports whether the server replies to a PING, with a refusal of the caller's rights if it must, but not
// because it is still loading its data.
func (s *Server) answers() bool {
	conn, err := net.DialTimeout("tcp", s.Addr, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	fmt.Fprint(conn, "PING\r\n")
	reply, err := bufio.NewReader(conn).ReadString('\n')
	return err == nil && !strings.HasPrefix(reply, "-LOADING")
}

// Kill ends the process at once, as kill -9 does. It does nothing to one that has ended.
func (s *Server) Kill() {
	s.cmd.Process.Kill()
	<-s.done
}

// LoseDisk takes the data directory away from the process, which then fails to save anything there.
func (s *Server) LoseDisk() {
	s.t.Helper()
	if err := os.RemoveAll(s.dir); err != nil {
		s.t.Fatal(err)
	}
}

// CopyData copies the data directory of a process that does not run, and PutBack puts such a copy in its place.
func (s *Server) CopyData() (dir string) {
	s.t.Helper()
	dir = s.t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(s.dir)); err != nil {
		s.t.Fatal(err)
	}
	return dir
}

// PutBack puts what CopyData has copied in the place of the data directory of a process that does not run.
func (s *Server) PutBack(dir string) {
	s.t.Helper()
	s.LoseDisk()
	if err := os.CopyFS(s.dir, os.DirFS(dir)); err != nil {
		s.t.Fatal(err)
	}
}

// Stop makes the process hang: it keeps its connections and answers nothing. [Server.Continue] ends that.
func (s *Server) Stop() { s.signal(syscall.SIGSTOP) }

// Continue ends a [Server.Stop].
func (s *Server) Continue() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}
