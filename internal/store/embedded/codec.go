package embedded

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// The layout of the log. A pool's name holds no zero byte, so that "t" + name + 0 + value is unambiguous and a pool's
// tokens are one range.
//
//	v                  the version of this layout
//	c                  the clock, JSON: see clockRecord
//	f                  a number that no fence is above which was issued
//	e                  the epoch of the last opening, in the layouts before the third
//	k                  the secret of the installation, where one was asked for
//	y id               a key that callers bring, JSON
//	p name             the pool's policy, JSON
//	x name             how often what expired in it
//	s name             how it settles, JSON: see settlingRecord
//	t name 0 value     one token
//	h name 0 value     its history, which is written only when a lease of it ends
//	r name 0 id        a request that is remembered, JSON
const (
	layoutVersion = 5

	// oldestVersion is still read. It had no requests, and tokens without a past; the second counted openings, the
	// third had no clock, and the fourth no histories.
	oldestVersion = 1

	keyPrefix     = 'y'
	poolPrefix    = 'p'
	expiredPrefix = 'x'
	settlePrefix  = 's'
	tokenPrefix   = 't'
	historyPrefix = 'h'
	requestPrefix = 'r'
)

var (
	versionKey = []byte{'v'}
	clockKey   = []byte{'c'}
	fenceKey   = []byte{'f'}
	epochKey   = []byte{'e'}
	secretKey  = []byte{'k'}
)

func poolKey(name string) []byte    { return append([]byte{poolPrefix}, name...) }
func expiredKey(name string) []byte { return append([]byte{expiredPrefix}, name...) }
func settleKey(name string) []byte  { return append([]byte{settlePrefix}, name...) }

func tokenKey(pool, value string) []byte { return keyIn(tokenPrefix, pool, value) }
func historyKey(pool, value string) []byte {
	return keyIn(historyPrefix, pool, value)
}

func requestKey(pool, id string) []byte { return keyIn(requestPrefix, pool, id) }

func keyIn(prefix byte, pool, name string) []byte {
	key := make([]byte, 0, 2+len(pool)+len(name))
	key = append(key, prefix)
	key = append(key, pool...)
	key = append(key, 0)
	return append(key, name...)
}

// rangeOf returns the first key of a kind in a pool and the first one after them.
func rangeOf(prefix byte, pool string) (from, to []byte) {
	from, to = keyIn(prefix, pool, ""), keyIn(prefix, pool, "")
	to[len(to)-1] = 1
	return from, to
}

var errDamaged = errors.New("a record is damaged")

// splitKey takes the key of a token or a request, without its prefix, apart.
func splitKey(key []byte) (pool, value string, err error) {
	before, after, found := bytes.Cut(key, []byte{0})
	if !found {
		return "", "", errDamaged
	}
	return string(before), string(after), nil
}

func encodeNumber(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

// decodeNumber returns 0 for a log that has none.
func decodeNumber(raw []byte) int64 {
	if len(raw) != 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(raw))
}

func encodePolicy(p tms.Policy) []byte {
	raw, _ := json.Marshal(p) // a struct of strings, numbers and booleans cannot fail
	return raw
}

// decodePolicy gives parts that an older program did not know their defaults.
func decodePolicy(raw []byte) (tms.Policy, error) {
	p := tms.DefaultPolicy()
	err := json.Unmarshal(raw, &p)
	return p, err
}

func encodeCounts(c tms.ExpiryCounts) []byte {
	raw := binary.AppendVarint(nil, c.Released)
	raw = binary.AppendVarint(raw, c.Quarantined)
	return binary.AppendVarint(raw, c.Deleted)
}

func decodeCounts(raw []byte) (tms.ExpiryCounts, error) {
	r := reader{raw: raw}
	c := tms.ExpiryCounts{Released: r.number(), Quarantined: r.number(), Deleted: r.number()}
	return c, r.end()
}

func encodeRequest(r *rules.Remembered) []byte {
	raw, _ := json.Marshal(r) // a struct of strings and numbers cannot fail
	return raw
}

func decodeRequest(raw []byte) (*rules.Remembered, error) {
	var r rules.Remembered
	err := json.Unmarshal(raw, &r)
	return &r, err
}

// stateBytes are the states as they stand in the log; 'h' stands there for an assigned token that waits to be picked
// up.
var stateBytes = map[tms.State]byte{tms.Available: 'a', tms.Assigned: 'l', tms.Cooling: 'c', tms.Quarantined: 'q'}

// What stands at the front of a record: the byte of the state, in upper case where a past follows.
const (
	handedByte = 'h'
	withPast   = 'a' - 'A'
)

var byteStates = func() map[byte]tms.State {
	states := map[byte]tms.State{handedByte: tms.Assigned}
	for state, b := range stateBytes {
		states[b] = state
	}
	return states
}()

// encodeRecord returns the state, the past if there is one, the instants, the lease of an assigned token, and the
// metadata.
func encodeRecord(r rules.Record, metadata packed) []byte {
	raw := make([]byte, 1, 64)
	if raw[0] = stateBytes[r.State]; r.Handed() {
		raw[0] = handedByte
	}
	if r.Past != (rules.Past{}) {
		raw[0] -= withPast
		raw = appendPast(raw, r.Past)
	}
	raw = binary.AppendVarint(raw, r.Seen)
	raw = binary.AppendVarint(raw, r.Until)
	if r.State == tms.Assigned {
		raw = appendLease(raw, r.Lease)
	}
	return append(raw, metadata...)
}

func appendPast(raw []byte, p rules.Past) []byte {
	raw = binary.AppendVarint(raw, p.Leases)
	raw = binary.AppendVarint(raw, p.Expired)
	raw = binary.AppendVarint(raw, p.Since)
	return appendText(raw, p.Client)
}

func appendLease(raw []byte, l rules.Lease) []byte {
	raw = appendText(raw, l.ID)
	raw = binary.AppendVarint(raw, l.Fence)
	raw = appendText(raw, l.ClientID)
	raw = binary.AppendVarint(raw, l.AssignedAt)
	return binary.AppendVarint(raw, l.TTL)
}

func appendText(raw []byte, text string) []byte {
	raw = binary.AppendUvarint(raw, uint64(len(text)))
	return append(raw, text...)
}

// decodeEntry returns the token whose record that is.
func decodeEntry(value string, raw []byte) (*entry, error) {
	if len(raw) == 0 {
		return nil, errDamaged
	}
	front, r := raw[0], reader{raw: raw[1:]}
	var record rules.Record
	if 'A' <= front && front <= 'Z' {
		front += withPast
		record.Past = r.past()
	}
	if record.State = byteStates[front]; record.State == "" {
		return nil, errDamaged
	}
	record.Seen, record.Until = r.number(), r.number()
	if record.State == tms.Assigned {
		record.Lease = r.lease()
		record.Lease.Handed = front == handedByte
	}
	e := newEntry(value, record, packed(r.raw))
	for len(r.raw) > 0 && !r.damaged {
		r.text()
		r.text()
	}
	return e, r.end()
}

// reader takes a record apart. After the first thing that does not fit it returns zeros.
type reader struct {
	raw     []byte
	damaged bool
}

func (r *reader) number() int64 {
	n, size := binary.Varint(r.raw)
	r.skip(size, size <= 0)
	return n
}

func (r *reader) text() string {
	length, size := binary.Uvarint(r.raw)
	if size <= 0 || length > uint64(len(r.raw)-size) {
		r.skip(0, true)
		return ""
	}
	text := string(r.raw[size : size+int(length)])
	r.skip(size+int(length), false)
	return text
}

func (r *reader) past() rules.Past {
	return rules.Past{Leases: r.number(), Expired: r.number(), Since: r.number(), Client: r.text()}
}

func (r *reader) lease() rules.Lease {
	return rules.Lease{ID: r.text(), Fence: r.number(), ClientID: r.text(), AssignedAt: r.number(), TTL: r.number()}
}

func (r *reader) skip(n int, damaged bool) {
	if r.damaged = r.damaged || damaged; !r.damaged {
		r.raw = r.raw[n:]
	}
}

// end returns an error if the record did not fit.
func (r *reader) end() error {
	if r.damaged {
		return errDamaged
	}
	return nil
}
