package embedded

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// The layout of the log. A pool's name holds no zero byte, so that "t" + name + 0 + value is unambiguous and a pool's
// tokens are one range.
//
//	v                  the version of this layout
//	e                  the epoch of the last opening
//	p name             the pool's policy, JSON
//	x name             how often what expired in it
//	t name 0 value     one token
const (
	layoutVersion = 1

	poolPrefix    = 'p'
	expiredPrefix = 'x'
	tokenPrefix   = 't'
)

var (
	versionKey = []byte{'v'}
	epochKey   = []byte{'e'}
)

func poolKey(name string) []byte    { return append([]byte{poolPrefix}, name...) }
func expiredKey(name string) []byte { return append([]byte{expiredPrefix}, name...) }

func tokenKey(pool, value string) []byte {
	key := make([]byte, 0, 2+len(pool)+len(value))
	key = append(key, tokenPrefix)
	key = append(key, pool...)
	key = append(key, 0)
	return append(key, value...)
}

// tokenRange returns the first key of a pool's tokens and the first one after them.
func tokenRange(pool string) (from, to []byte) {
	from, to = tokenKey(pool, ""), tokenKey(pool, "")
	to[len(to)-1] = 1
	return from, to
}

var errDamaged = errors.New("a record is damaged")

// splitTokenKey takes a token's key, without its prefix, apart.
func splitTokenKey(key []byte) (pool, value string, err error) {
	before, after, found := bytes.Cut(key, []byte{0})
	if !found {
		return "", "", errDamaged
	}
	return string(before), string(after), nil
}

func encodeEpoch(epoch int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(epoch)) }

// decodeEpoch returns 0 for a log that never had one.
func decodeEpoch(raw []byte) int64 {
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

// stateBytes are the states as they stand in the log.
var stateBytes = map[tms.State]byte{tms.Available: 'a', tms.Assigned: 'l', tms.Cooling: 'c', tms.Quarantined: 'q'}

var byteStates = func() map[byte]tms.State {
	states := map[byte]tms.State{}
	for state, b := range stateBytes {
		states[b] = state
	}
	return states
}()

// encodeRecord returns the state, the instants, the lease of an assigned token, and the metadata in the order of its
// keys.
func encodeRecord(r rules.Record) []byte {
	raw := make([]byte, 1, 64)
	raw[0] = stateBytes[r.State]
	raw = binary.AppendVarint(raw, r.Seen)
	raw = binary.AppendVarint(raw, r.Until)
	if r.State == tms.Assigned {
		raw = appendLease(raw, r.Lease)
	}
	for _, key := range slices.Sorted(maps.Keys(r.Metadata)) {
		raw = appendText(raw, key)
		raw = appendText(raw, r.Metadata[key])
	}
	return raw
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

func decodeRecord(raw []byte) (rules.Record, error) {
	if len(raw) == 0 || byteStates[raw[0]] == "" {
		return rules.Record{}, errDamaged
	}
	r := reader{raw: raw[1:]}
	record := rules.Record{State: byteStates[raw[0]], Seen: r.number(), Until: r.number()}
	if record.State == tms.Assigned {
		record.Lease = r.lease()
	}
	for len(r.raw) > 0 && !r.damaged {
		if record.Metadata == nil {
			record.Metadata = map[string]string{}
		}
		key := r.text()
		record.Metadata[key] = r.text()
	}
	return record, r.end()
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
