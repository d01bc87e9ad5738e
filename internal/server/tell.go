package server

import (
	"log/slog"

	tms "github.com/manankarani/token-manager"
)

// tell logs what an operator wants to know afterwards, with the key that did it. It names pools, and no tokens.
func (s *Server) tell(c *call, what string, attrs ...slog.Attr) {
	s.log.LogAttrs(c.Context(), slog.LevelInfo, what, append(attrs, s.keyOf(c)...)...)
}

// tellForce tells how many tokens were taken without a lease_id. Where nobody is asked for a key that is as usual as
// with one, and not told.
func (s *Server) tellForce(c *call, verb, pool string, keys []tms.LeaseKey, done func(i int) bool) {
	forced := 0
	for i, key := range keys {
		if key.LeaseID == "" && done(i) {
			forced++
		}
	}
	if forced > 0 && s.config.Access != nil {
		s.tell(c, "tokens were taken without a lease_id", slog.String("verb", verb), slog.String("pool", pool),
			slog.Int("tokens", forced))
	}
}
