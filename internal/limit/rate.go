// Package limit bounds how often callers may ask.
//
// Read it downward. rate.go says what a rate is and how a bucket counts by it, local.go keeps the buckets of one
// server, shared.go takes from those that servers share, and store.go says what a call costs and who pays for it.
package limit

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Rate is how much somebody may ask for: so many units in each time Per, and Burst at once. The zero value sets no
// limit.
type Rate struct {
	Units int
	Per   time.Duration
	Burst int
}

// MostUnits is the greatest number of units of a rate, and of its burst.
const MostUnits = 1_000_000

const (
	off     = "off"
	rateFor = "must be a number a second, a minute or an hour, as 200/s, 600/m or 10/h, or off"
)

var spans = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}

// ParseRate reads "200/s", "600/m", "10/h", or "off", which sets no limit. The burst is what comes in two seconds, and
// one unit at least.
func ParseRate(text string) (Rate, error) {
	if text == off {
		return Rate{}, nil
	}
	number, span, _ := strings.Cut(text, "/")
	units, err := strconv.Atoi(number)
	per := spans[span]
	if err != nil || per == 0 || units < 1 || units > MostUnits {
		return Rate{}, fmt.Errorf("%s, and at most %d, is %q", rateFor, MostUnits, text)
	}
	r := Rate{Units: units, Per: per}
	r.Burst = max(1, min(MostUnits, int(2*time.Second/r.interval())))
	return r, nil
}

// String returns what ParseRate reads. It leaves the burst out.
func (r Rate) String() string {
	for span, per := range spans {
		if per == r.Per {
			return fmt.Sprintf("%d/%s", r.Units, span)
		}
	}
	return off
}

// IsZero reports whether the rate sets no limit.
func (r Rate) IsZero() bool { return r.Units == 0 }

// interval is the time in which one unit comes.
func (r Rate) interval() time.Duration { return r.Per / time.Duration(r.Units) }

// Window is the time in which an empty bucket fills.
func (r Rate) Window() time.Duration { return time.Duration(r.Burst) * r.interval() }

// Interval is the time in which one unit comes, in microseconds.
func (r Rate) Interval() float64 { return float64(r.Per.Microseconds()) / float64(r.Units) }

// Drawn is what was drawn from a bucket, and how it stands then.
type Drawn struct {
	Units int           // that were drawn
	Left  int           // in the bucket
	Wait  time.Duration // until what was asked for at least is there; zero where it was drawn
	Full  time.Duration // until the bucket is full
}

// draw draws from a bucket that is full at the instant full: as many units as there are, least at least and most at
// most, or none. It returns when the bucket is full then. A bucket is nothing but that instant: this is the generic
// cell rate algorithm (GCRA) in its form of virtual scheduling, of ITU-T I.371. Least is no more than the burst.
func (r Rate) draw(now, full time.Duration, least, most int) (Drawn, time.Duration) {
	interval, window := r.interval(), r.Window()
	full = max(now, min(full, now+window)) // what was drawn at another rate is not owed at this one
	there := int((now + window - full) / interval)
	if there < least {
		return Drawn{0, there, time.Duration(least)*interval - (now + window - full), full - now}, full
	}
	units := min(there, most)
	full += time.Duration(units) * interval
	return Drawn{units, there - units, 0, full - now}, full
}

// fields returns the values of the fields RateLimit-Policy and RateLimit, of draft-ietf-httpapi-ratelimit-headers.
func (r Rate) fields(d Drawn) (policy, limit string) {
	return fmt.Sprintf(`"default";q=%d;w=%d`, r.Burst, seconds(r.Window())),
		fmt.Sprintf(`"default";r=%d;t=%d`, d.Left, seconds(d.Full))
}

func seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }
