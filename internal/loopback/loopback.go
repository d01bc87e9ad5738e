// Package loopback has what tests need of the network: free addresses, and wires that can be cut.
package loopback

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// The ports below 32768 are not those that Linux gives to outgoing connections, one of which might otherwise sit on the
// port of a server that is being started there, or started again.
const firstPort, lastPort = 20_000, 32_767

// Addr returns a free host:port of the loopback interface, at which a server can be ended and started again.
func Addr(t testing.TB) string {
	t.Helper()
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+rand.N(lastPort-firstPort+1)))
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no free port was found on the loopback interface")
	return ""
}
