package rules

import (
	"strconv"
	"strings"
	"time"

	tms "github.com/manankarani/token-manager"
)

// History is what is remembered of the leases of a token that have ended, the last one first. Each is a line:
// "fence assigned_at renewed ended end by client_id": when it began, by the wall clock when it ended, so that later
// outages do not move it; how long after that it was kept alive last; how long after that it ended; how, by its first
// letter; and by which key by force, or - for none. writes.lua writes the same.
type History string

const nobody = "-" // is the name of no key

var ends = map[string]tms.End{"r": tms.EndReleased, "q": tms.EndQuarantined, "e": tms.EndExpired}

// ended returns the line of the record's lease.
func (r Record) ended(p Terms, at int64, end tms.End, by string) string {
	if by == "" {
		by = nobody
	}
	line := make([]byte, 0, 96)
	for _, n := range []int64{r.Lease.Fence, r.Lease.AssignedAt + p.Ahead, r.Seen - r.Lease.AssignedAt, at - r.Seen} {
		line = append(strconv.AppendInt(line, n, 10), ' ')
	}
	line = append(append(append(line, end[0], ' '), by...), ' ')
	return string(append(append(line, r.Lease.ClientID...), '\n'))
}

// with returns the history with one more line, of at most so many.
func (h History) with(line string, most int) History {
	if most == 0 {
		return ""
	}
	return History(line) + h.first(most-1)
}

// first returns the first lines, at most so many.
func (h History) first(most int) History {
	end := 0
	for range most {
		next := strings.IndexByte(string(h[end:]), '\n')
		if next < 0 {
			return h
		}
		end += next + 1
	}
	return h[:end]
}

// leases returns the first leases, at most so many. A line that does not fit is left out.
func (h History) leases(most int) []tms.PastLease {
	leases := []tms.PastLease{}
	for line := range strings.Lines(string(h.first(most))) {
		if lease, fits := readEnded(strings.TrimSuffix(line, "\n")); fits {
			leases = append(leases, lease)
		}
	}
	return leases
}

func readEnded(line string) (l tms.PastLease, fits bool) {
	parts := strings.SplitN(line, " ", 7)
	if len(parts) < 7 {
		return l, false
	}
	var numbers [4]int64
	for i := range numbers {
		numbers[i], _ = strconv.ParseInt(parts[i], 10, 64)
	}
	l.Fence, l.End = numbers[0], ends[parts[4]]
	l.AssignedAt = Instant(numbers[1])
	l.RenewedAt = l.AssignedAt.Add(time.Duration(numbers[2]) * time.Millisecond)
	l.EndedAt = l.RenewedAt.Add(time.Duration(numbers[3]) * time.Millisecond)
	if l.Holder, l.ClientID = tms.Owner(parts[6]); parts[5] != nobody {
		l.By = parts[5]
	}
	return l, l.End != ""
}
