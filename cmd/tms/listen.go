package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"syscall"

	"github.com/manankarani/token-manager/internal/node"
)

// address returns the configured address.
func (c *config) address() (*net.TCPAddr, error) {
	if c.Listen == "" { // which the resolver would take for any address and a free port
		return nil, errors.New("listen: must be HOST:PORT, as 127.0.0.1:8080, is empty")
	}
	address, err := net.ResolveTCPAddr("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen: must be HOST:PORT, as 127.0.0.1:8080: %w", err)
	}
	return address, nil
}

// ownAddress returns the configured address as one to listen on. While authentication is off it refuses one that other
// machines can reach, unless the operator insists.
func (c *config) ownAddress() (*net.TCPAddr, error) {
	address, err := c.address()
	if err == nil && !address.IP.IsLoopback() && !c.Insecure {
		return nil, &ended{exitUsage,
			fmt.Errorf("listen: %s is reachable from other machines, and authentication is off: whoever reaches it "+
				"could use every pool; listen on 127.0.0.1, or, where the network keeps strangers out, say --insecure "+
				"(TMS_INSECURE=true)", c.Listen)}
	}
	return address, err
}

// listen takes the configured address.
func listen(c *config) (net.Listener, error) {
	address, err := c.ownAddress()
	if err != nil {
		return nil, err
	}
	listener, err := net.ListenTCP("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%w: another process, perhaps another tms serve, listens there; stop it, or choose another "+
			"address with --listen HOST:PORT", err)
	}
	return listener, err
}

// greet tells a person what is being served, why it is not ready if it is not, and what to try.
func greet(out io.Writer, c *config, address net.Addr, unready error) {
	tcp := address.(*net.TCPAddr)
	reach := "this address"
	if tcp.IP.IsUnspecified() {
		reach = "any address of this machine, on port " + strconv.Itoa(tcp.Port) + ","
	}
	fmt.Fprintf(out, "tms %s serves on http://%s\n", versionText(), tcp)
	fmt.Fprintf(out, "store: %s\n", describeStore(c))
	fmt.Fprintf(out, "authentication is off: whoever reaches %s can use every pool\n", reach)
	if unready != nil {
		fmt.Fprintf(out, "not ready: %s\n", node.Reason(unready))
		return
	}
	fmt.Fprintf(out, "try: curl -X POST http://%s/generate-token\n", reachable(tcp))
}

// reachable returns an address of this machine for one that a server listens on.
func reachable(address *net.TCPAddr) string {
	if address.IP.IsUnspecified() || address.IP == nil {
		address = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: address.Port}
	}
	return address.String()
}
