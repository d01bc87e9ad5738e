package api

import (
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	tms "github.com/manankarani/token-manager"
)

// Duration is a duration as requests and policies write it: a string such as "90s", "1h30m" or "250ms".
type Duration time.Duration

// UnmarshalText reads what [time.ParseDuration] reads.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return tms.Invalid("", `must be a duration such as "90s", "5m" or "250ms"`)
	}
	*d = Duration(parsed)
	return nil
}

// MarshalText writes the duration as String does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String returns the duration without parts that are zero: "5m", not "5m0s".
func (d Duration) String() string {
	text := time.Duration(d).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// Time is an instant as answers write it: RFC 3339 in UTC with milliseconds.
type Time struct{ time.Time }

// MarshalJSONTo writes the instant. It puts the milliseconds into what [time.RFC3339] gives, because package time is
// several times slower with a layout of one's own, and every answer has instants.
func (t Time) MarshalJSONTo(enc *jsontext.Encoder) error {
	text := t.UTC().AppendFormat(append(enc.AvailableBuffer(), '"'), time.RFC3339)
	ms := t.Nanosecond() / int(time.Millisecond)
	text = append(text[:len(text)-len("Z")], '.', '0'+byte(ms/100), '0'+byte(ms/10%10), '0'+byte(ms%10), 'Z', '"')
	return enc.WriteValue(text)
}
