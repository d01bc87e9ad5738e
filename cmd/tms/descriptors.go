package main

import (
	"fmt"
	"log/slog"

	"github.com/manankarani/token-manager/internal/server"
)

// ownFiles is how many files a server may have open beside its connections: those of its store and of the log, and what
// the runtime needs. The embedded store opens two dozen, and up to as many more while it writes tables.
const ownFiles = 48

// fitFiles lowers the limit of connections to what the process may have open, beside the files that it needs: a store
// that can open none ends the server. It returns an error if too little is left.
func (c *config) fitFiles(mayOpen uint64, logger *slog.Logger) error {
	const needed = ownFiles + server.ReservedConnections
	if mayOpen >= needed+uint64(c.MaxConnections) {
		return nil
	}
	if mayOpen <= needed {
		return fmt.Errorf("the process may have %d files open and needs more than %d: raise its limit (ulimit -n)", mayOpen,
			needed)
	}
	most := int(mayOpen - needed)
	logger.Warn("max_connections is lowered, since the process may have few files open (ulimit -n)",
		"max_connections", most, "configured", c.MaxConnections, "files", mayOpen)
	c.MaxConnections = most
	return nil
}
