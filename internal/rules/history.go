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

// with returns the history with the lease of a record, which ended at an instant, of at most so many leases.
func (h History) with(p Terms, held Record, at int64, end tms.End, by string) History {
	if p.History == 0 {
		return ""
	}
	var line [96]byte
	text := line[:0]
	from := held.Lease.AssignedAt
	for _, n := range [...]int64{held.Lease.Fence, from + p.Ahead, held.Seen - from, at - held.Seen} {
		text = append(strconv.AppendInt(text, n, 10), ' ')
	}
	if by == "" {
		by = nobody
	}
	text = append(append(append(text, end[0], ' '), by...), ' ')
	older := h.first(p.History - 1)
	var all strings.Builder // which takes the memory of the whole once
	all.Grow(len(text) + len(held.Lease.ClientID) + 1 + len(older))
	all.Write(text)
	all.WriteString(held.Lease.ClientID)
	all.WriteByte('\n')
	all.WriteString(string(older))
	return History(all.String())
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
