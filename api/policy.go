package api

import (
	"reflect"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	tms "github.com/manankarani/token-manager"
)

// Policy is a pool's policy on the wire and in the configuration file, with durations such as "90s". In a request a
// field that is left out keeps its value; an answer has all of them. Reading one checks no limits:
// [tms.PolicyChange.Validate] does.
type Policy tms.PolicyChange

// NewPolicy returns the policy with every field set.
func NewPolicy(p tms.Policy) Policy { return Policy(p.Change()) }

// Change returns the change that the policy asks for.
func (p Policy) Change() tms.PolicyChange { return tms.PolicyChange(p) }

// The durations of a policy are written as those of requests are.
var (
	writeDurations = json.WithMarshalers(json.MarshalToFunc(func(enc *jsontext.Encoder, d time.Duration) error {
		return json.MarshalEncode(enc, Duration(d))
	}))
	readDurations = json.WithUnmarshalers(json.UnmarshalFromFunc(func(dec *jsontext.Decoder, d *time.Duration) error {
		return json.UnmarshalDecode(dec, (*Duration)(d))
	}))
)

// MarshalJSONTo writes the fields that are set.
func (p Policy) MarshalJSONTo(enc *jsontext.Encoder) error {
	return json.MarshalEncode(enc, (*tms.PolicyChange)(&p), writeDurations)
}

// UnmarshalJSONFrom reads the fields that are there.
func (p *Policy) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	return json.UnmarshalDecode(dec, (*tms.PolicyChange)(p), readDurations)
}

// MarshalJSON and UnmarshalJSON do the same for encoding/json.
func (p Policy) MarshalJSON() ([]byte, error) {
	return json.Marshal((*tms.PolicyChange)(&p), writeDurations)
}

// UnmarshalJSON reads the fields that are there.
func (p *Policy) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, (*tms.PolicyChange)(p), readDurations)
}

// without returns the policy without the fields that the other has alike.
func (p Policy) without(other Policy) Policy {
	fields, others := reflect.ValueOf(&p).Elem(), reflect.ValueOf(other)
	for i := range fields.NumField() {
		if reflect.DeepEqual(fields.Field(i).Interface(), others.Field(i).Interface()) {
			fields.Field(i).SetZero()
		}
	}
	return p
}
