package embedded

// Fences are counted up from where their epoch began, which is when the store was opened. That is where the clock
// stands, at 4,096 for each millisecond since 2026, faster than fences can be issued, so that they rise over whatever
// the store does not know: a directory that was copied and put back. Where the clock is behind what the log remembers,
// it is that. The clock stops counting in 2060, in the middle of what lies below 2^53.
const (
	fenceStart     = 1_767_225_600_000 // 2026-01-01, in ms
	fenceLast      = 1 << 40           // ms
	fencesEach     = 4_096             // ms
	fencesReserved = 1 << 16           // are written in advance
)

// epochBits is how far an epoch stood above the counter in a fence of the layouts before the third.
const epochBits = 32

// fenceAt returns where an epoch begins by the clock.
func fenceAt(now int64) int64 { return max(0, min(now-fenceStart, fenceLast)) * fencesEach }

// nextFence returns a number above all that were ever issued. Before it is above what the log remembers, the log does
// more: that is written in the same step.
func (s *Store) nextFence() int64 {
	if s.lastFence++; s.lastFence > s.fenceBound {
		s.fenceBound = s.lastFence + fencesReserved
		s.journal.setFenceBound(s.fenceBound)
	}
	return s.lastFence
}

// issuedFence returns a number that no fence is above which was issued in the directory.
func (j *journal) issuedFence() (int64, error) {
	bound, err := j.get(fenceKey)
	if err != nil || bound != nil {
		return decodeNumber(bound), err
	}
	epoch, err := j.get(epochKey)
	if epoch == nil {
		return 0, err
	}
	return (decodeNumber(epoch) + 1) << epochBits, err
}
