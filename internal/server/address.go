package server

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// addressOf returns the address of a request's client.
func (s *Server) addressOf(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return s.clientOf(at.Addr().Unmap(), r.Header["X-Forwarded-For"])
}

// clientOf returns the last address that no trusted proxy has, of those through which a request has come: each proxy
// adds the one that asked it at the end. What stands before was said by somebody who is not trusted.
func (s *Server) clientOf(last netip.Addr, forwarded []string) netip.Addr {
	if len(s.config.TrustedProxies) == 0 {
		return last
	}
	hops := strings.Split(strings.Join(forwarded, ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !s.trusts(last) {
			break
		}
		before, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		last = before.Unmap()
	}
	return last
}

func (s *Server) trusts(proxy netip.Addr) bool {
	return slices.ContainsFunc(s.config.TrustedProxies, func(p netip.Prefix) bool {
		return p.Contains(proxy.WithZone(""))
	})
}
