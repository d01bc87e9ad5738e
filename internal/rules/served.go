package rules

// Served counts served time, by which the clocks of pools run: the time, in ms, in which a process served. So nobody
// loses a lease or a token to an outage, a paused machine, a restart, or a clock that is set. served.lua says the same
// in Lua, where the clocks of several servers count as well. The zero value has served nothing.
type Served struct {
	served int64
	began  int64 // what the clock said when that would have been 0
	moved  bool
}

// mostMove is for how much one move counts: a process that serves moves once a second.
const mostMove = 1_500

// Move moves served time on to where the process's clock stands, and returns it. A clock that goes back moves nothing,
// nor does the time beyond a second and a half in which nobody called.
func (s *Served) Move(clock int64) int64 {
	if !s.moved {
		s.began, s.moved = clock-s.served, true
	}
	s.served = max(s.served, min(clock-s.began, s.served+mostMove))
	s.began = clock - s.served
	return s.served
}

// Began returns what the process's clock said at served time 0, or would have if it had not stood still since.
func (s *Served) Began() int64 { return s.began }
