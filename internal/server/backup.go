package server

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

// backup makes a backup, which holds every token and every proof of a lease, for who is on this machine.
func (s *Server) backup(c *call) (reply, error) {
	if err := onThisMachine(c.Request); err != nil {
		return reply{}, err
	}
	if c.Method != http.MethodGet {
		return reply{}, tms.Refuse(tms.ErrMethodNotAllowed, "the route takes GET")
	}
	if err := s.everywhere(c, api.PathBackup, tms.Run); err != nil {
		return reply{}, err
	}
	if s.config.Backup == nil {
		return reply{}, tms.Refuse(tms.ErrNotFound,
			"the store keeps no data directory of its own: back up what it is kept in")
	}
	backup, err := s.config.Backup(c.Context())
	if err != nil {
		return reply{}, err
	}
	return reply{body: backup}, nil
}

// forwarding are the headers by which a proxy says for whom it asks.
var forwarding = []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via"}

// onThisMachine refuses a request that did not come from a program on the server's own machine: one from elsewhere, one
// that a proxy here passes on, one that a browser here sends for a page of another origin or by the name of another
// host.
func onThisMachine(r *http.Request) error {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	local := err == nil && net.ParseIP(host).IsLoopback() && namesThisMachine(r.Host)
	for _, name := range forwarding {
		local = local && len(r.Header.Values(name)) == 0
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
	default:
		local = false
	}
	if !local {
		return tms.Refuse(tms.ErrForbidden,
			"only programs on the server's own machine may do that, and not through a proxy")
	}
	return nil
}

// namesThisMachine reports whether the host, with or without a port, is localhost, or an address, which no name can
// lead astray, or none, which no browser sends.
func namesThisMachine(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.Trim(host, "[]"), ".")
	return host == "" || strings.EqualFold(host, "localhost") ||
		strings.HasSuffix(strings.ToLower(host), ".localhost") ||
		net.ParseIP(host) != nil
}

// stream writes a backup, which may take any time as long as the client reads.
func (s *Server) stream(c *call, b Backup) (int, error) {
	h := c.writer.Header()
	h["Content-Type"] = []string{api.Tar}
	h["Cache-Control"] = noStore
	_, err := b.WriteTo(patient{c, s.config.WriteTimeout})
	err = errors.Join(err, b.Close())
	c.cut = err != nil
	return booked(c.Request, http.StatusOK, err, nil), err
}

// patient is an answer that has a time for each part of it, not for all of it.
type patient struct {
	*call
	each time.Duration
}

func (p patient) Write(text []byte) (int, error) {
	p.mayTake(p.each)
	return p.writer.Write(text)
}
