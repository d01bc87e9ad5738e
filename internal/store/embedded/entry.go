package embedded

import (
	"maps"
	"slices"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// entry is one token. There may be millions, so that it is small: what only some tokens have lies beside it.
type entry struct {
	text  string // its value, and after it its metadata
	seen  int64  // as in a [rules.Record], as the others of these names
	until int64
	lease *rules.Lease // nil: none
	past  *rules.Past  // nil: none

	slot  int32  // where it lies in the bag of the available tokens
	size  uint16 // of its value
	order uint8  // of its state in [rules.States]
}

// newEntry returns a token that is remembered so, beside r.Metadata, which is not looked at.
func newEntry(value string, r rules.Record, metadata packed) *entry {
	e := &entry{text: value + string(metadata), size: uint16(len(value))}
	e.become(r)
	return e
}

func (e *entry) value() string    { return e.text[:e.size] }
func (e *entry) metadata() packed { return packed(e.text[e.size:]) }

func (e *entry) state() tms.State { return rules.States[e.order] }

func (e *entry) is(state tms.State) bool { return e.state() == state }

func (e *entry) handed() bool { return e.lease != nil && e.lease.Handed }

// held returns the token's lease; zero: none.
func (e *entry) held() (l rules.Lease) {
	if e.lease != nil {
		l = *e.lease
	}
	return l
}

func (e *entry) history() rules.History {
	if e.past == nil {
		return ""
	}
	return e.past.History
}

// record returns what is remembered of the token but for its metadata, which no transition looks at.
func (e *entry) record() rules.Record {
	r := rules.Record{State: e.state(), Seen: e.seen, Until: e.until, Lease: e.held()}
	if e.past != nil {
		r.Past = *e.past
	}
	return r
}

// become makes r what is remembered of the token; its metadata stays.
func (e *entry) become(r rules.Record) {
	e.order, e.seen, e.until = uint8(slices.Index(rules.States, r.State)), r.Seen, r.Until
	e.lease, e.past = keep(e.lease, r.Lease), keep(e.past, r.Past)
}

// keep returns where the thing is kept, which is there already or made; nil for a zero one.
func keep[T comparable](there *T, thing T) *T {
	var zero T
	if thing == zero {
		return nil
	}
	if there == nil {
		there = new(T)
	}
	*there = thing
	return there
}

// packed is metadata as the log has it: keys and values, each with its length before it, in the order of the keys.
// A map takes several times as much.
type packed string

func pack(metadata map[string]string) packed {
	if len(metadata) == 0 {
		return ""
	}
	var raw []byte
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		raw = appendText(raw, key)
		raw = appendText(raw, metadata[key])
	}
	return packed(raw)
}

// unpack returns nil for none.
func (p packed) unpack() map[string]string {
	if p == "" {
		return nil
	}
	metadata, r := map[string]string{}, reader{raw: []byte(p)}
	for len(r.raw) > 0 && !r.damaged { // which the log has been read for: see decodeEntry
		key := r.text()
		metadata[key] = r.text()
	}
	return metadata
}
