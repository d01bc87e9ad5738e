package redis

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// errAgain is the answer of a step that has to be run once more.
var errAgain = errors.New("some expiries were carried out, and nothing else")

// errDeleting is the answer of a step on a pool that is being deleted.
var errDeleting = errors.New("the pool is being deleted")

// errTooMany is the answer to a generate of more tokens than a pool with labels takes at once.
var errTooMany = errors.New("they are too many for a pool with labels")

// answer reads an answer from its first element to its last. The first element that has not the expected form ends it:
// err says so, and whatever is read then is zero.
type answer struct {
	values []rueidis.RedisMessage
	err    error
	now    int64 // the instant of the step, by the wall clock
	ahead  int64 // how far that is ahead of the pool's own clock, ms
}

// readAnswer returns the elements after the instant of the step, or the refusal.
func readAnswer(pool string, m rueidis.RedisMessage) (*answer, error) {
	if m.IsString() {
		code, _ := m.ToString() // which it is
		return nil, refusal(pool, code)
	}
	values, err := m.ToArray()
	a := &answer{values: values, err: err}
	a.stamp()
	return a, a.failure()
}

// stamp reads "instant ahead", by which what follows is in wall-clock time.
func (a *answer) stamp() {
	instant, ahead, _ := strings.Cut(a.text(), " ")
	a.parse([]string{instant, ahead}, &a.now, &a.ahead)
	a.now += a.ahead
}

// refusal returns the error for a code that a function answered.
func refusal(pool, code string) error {
	switch code {
	case again:
		return errAgain
	case "deleting":
		return errDeleting
	case "too_many_labelled":
		return errTooMany
	case string(tms.ErrPoolNotFound):
		return rules.NoPool(pool)
	case string(tms.ErrPoolExists):
		return rules.MayPut(pool, tms.IfMissing, true)
	case string(tms.ErrTokenNotFound):
		return rules.NoToken(pool)
	case string(tms.ErrRequestIDReused):
		return rules.Reused()
	case "handed":
		return rules.OnItsWay()
	case "long_rest":
		return rules.TooLongARest()
	case "own_rest":
		return rules.RestOfOnesOwn()
	case "no_index":
		return rules.NoClientIndex()
	}
	return tms.Code(code)
}

// failure returns an error if the answer has not the expected form. Then nothing is known of the outcome.
func (a *answer) failure() error {
	if a.err == nil {
		return nil
	}
	return malformed(a.err)
}

// next returns the next element, or nil after the first error.
func (a *answer) next() *rueidis.RedisMessage {
	if a.err == nil && len(a.values) == 0 {
		a.err = errors.New("it ends early")
	}
	if a.err != nil {
		return nil
	}
	m := &a.values[0]
	a.values = a.values[1:]
	return m
}

func (a *answer) more() bool { return a.err == nil && len(a.values) > 0 }

func (a *answer) int() (n int64) {
	if m := a.next(); m != nil {
		n, a.err = m.AsInt64()
	}
	return n
}

func (a *answer) text() (text string) {
	if m := a.next(); m != nil {
		text, a.err = m.ToString()
	}
	return text
}

// array returns the next element, an array, for reading.
func (a *answer) array() *answer {
	inner := &answer{now: a.now, ahead: a.ahead, err: a.err}
	if m := a.next(); m != nil {
		inner.values, a.err = m.ToArray()
		inner.err = a.err
	}
	return inner
}

// instant reads an instant, zero for -1.
func (a *answer) instant() time.Time {
	at := a.int()
	if at < 0 {
		return time.Time{}
	}
	return rules.Instant(at + a.ahead)
}

// policy reads the token TTL, which is what a token's clocks need of its pool's policy.
func (a *answer) policy() rules.Terms {
	ttl := time.Duration(a.int()) * time.Millisecond
	return rules.Terms{Policy: tms.Policy{TokenTTL: ttl, History: tms.MaxHistory}} // of which no more is told
}

// record reads a token as tms1_token and tms1_tokens answer it.
func (a *answer) record() rules.Record {
	in := a.array()
	state, till := in.int(), in.int()
	r := in.stands(state, till, in.text())
	r.Metadata = in.decode(in.text())
	if in.more() {
		in.past(&r)
	}
	if in.more() {
		r.Past.History = rules.History(in.text())
	}
	a.err = in.err
	return r.Shift(a.ahead)
}

// packed reads "state till record", and behind a line feed the metadata.
func (a *answer) packed(text string) rules.Record {
	record, metadata, _ := strings.Cut(text, "\n")
	parts := strings.SplitN(record, " ", 3)
	if len(parts) != 3 {
		a.err = errors.Join(a.err, errors.New("a token has too few parts"))
		return rules.Record{}
	}
	var state, till int64
	a.parse(parts, &state, &till)
	r := a.stands(state, till, parts[2])
	r.Metadata = a.decode(metadata)
	return r.Shift(a.ahead)
}

// stands returns the record of a token in a state: about is its lease string, or its last sign of life.
func (a *answer) stands(state, till int64, about string) rules.Record {
	if a.err == nil && (state < 1 || int(state) > len(rules.States)) {
		a.err = errors.New("there is no such state")
	}
	if a.err != nil {
		return rules.Record{}
	}
	r := rules.Record{State: rules.States[state-1], Until: till}
	if r.State == tms.Assigned {
		a.lease(about, &r)
	} else {
		a.parse([]string{about}, &r.Seen)
	}
	return r
}

// past reads "leases expired since client_id", or nothing where no lease has ended.
func (a *answer) past(r *rules.Record) {
	text := a.text()
	if text == "" {
		return
	}
	parts := strings.SplitN(text, " ", 4)
	if len(parts) != 4 {
		a.err = errors.Join(a.err, errors.New("a past has too few parts"))
		return
	}
	r.Past.Client = parts[3]
	a.parse(parts, &r.Past.Leases, &r.Past.Expired, &r.Past.Since)
}

// parse reads the texts into the numbers.
func (a *answer) parse(texts []string, numbers ...*int64) {
	for i, n := range numbers {
		var err error
		if *n, err = strconv.ParseInt(texts[i], 10, 64); err != nil {
			a.err = err
		}
	}
}

// follows stands in a lease string in the place of the last sign of life, which is the lease's end less its TTL.
const follows = "*"

// lease reads a lease string: "lease_id fence assigned_at seen ttl client_id".
func (a *answer) lease(text string, r *rules.Record) {
	parts := strings.SplitN(text, " ", 6)
	if len(parts) != 6 {
		a.err = errors.Join(a.err, errors.New("a lease has too few parts"))
		return
	}
	l := &r.Lease
	l.ID, l.ClientID = parts[0], parts[5]
	a.parse(parts[1:3], &l.Fence, &l.AssignedAt)
	if a.parse(parts[4:5], &l.TTL); parts[3] == follows {
		r.Seen = r.Until - l.TTL
	} else {
		a.parse(parts[3:4], &r.Seen)
	}
	l.Handed = l.AssignedAt == 0
}

// decode reads metadata, "" for none.
func (a *answer) decode(text string) (metadata map[string]string) {
	if text != "" && a.err == nil {
		a.err = json.Unmarshal([]byte(text), &metadata)
	}
	return metadata
}
