package server

import (
	"net"
	"net/http"
	"strings"

	tms "github.com/manankarani/token-manager"
)

// checkOrigin refuses what a browser sends for a page that is not the server's own. A page can have the name of its own
// host lead to this machine after it was loaded (DNS rebinding); the browser then takes the server for the page's own, and
// only the name in the Host header tells.
func (s *Server) checkOrigin(r *http.Request) error {
	if s.origins.Check(r) != nil {
		return tms.ErrForbidden
	}
	if s.config.LocalOnly && !namesThisMachine(r.Host) {
		return tms.Refuse(tms.ErrForbidden, "the server listens for this machine only, and the Host header names another; "+
			"say localhost or 127.0.0.1, or start the server with --insecure")
	}
	return nil
}

// namesThisMachine says whether the host, with or without a port, is localhost, or an address, which no name can lead
// astray, or none, which no browser sends.
func namesThisMachine(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.Trim(host, "[]"), ".")
	return host == "" || strings.EqualFold(host, "localhost") || strings.HasSuffix(strings.ToLower(host), ".localhost") || net.ParseIP(host) != nil
}
