package redis

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	tms "github.com/manankarani/token-manager"
)

// storedChange is tms.PolicyChange with the names that the fields have in Redis, where those of durations end in _ms.
var storedChange = func() reflect.Type {
	fields := reflect.VisibleFields(reflect.TypeFor[tms.PolicyChange]())
	for i, field := range fields {
		if name := field.Tag.Get("json"); field.Type == reflect.TypeFor[*time.Duration]() {
			fields[i].Tag = reflect.StructTag(`json:"` + strings.Replace(name, ",", "_ms,", 1) + `"`)
		}
	}
	return reflect.StructOf(fields)
}()

// Durations are written as whole milliseconds, and labels as one text, in order, with a line each: the JSON of Redis
// does not know an empty list from an empty map.
var (
	writeStored = json.WithMarshalers(json.JoinMarshalers(
		json.MarshalToFunc(func(enc *jsontext.Encoder, d time.Duration) error {
			return enc.WriteToken(jsontext.Int(d.Milliseconds()))
		}),
		json.MarshalToFunc(func(enc *jsontext.Encoder, labels []string) error {
			return enc.WriteToken(jsontext.String(strings.Join(slices.Sorted(slices.Values(labels)), "\n")))
		}),
	))
	readStored = json.WithUnmarshalers(json.JoinUnmarshalers(
		json.UnmarshalFromFunc(func(dec *jsontext.Decoder, d *time.Duration) error {
			var ms int64
			err := json.UnmarshalDecode(dec, &ms)
			*d = time.Duration(ms) * time.Millisecond
			return err
		}),
		json.UnmarshalFromFunc(func(dec *jsontext.Decoder, labels *[]string) error {
			var text string
			err := json.UnmarshalDecode(dec, &text)
			*labels = strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
			return err
		}),
	))
)

// encodeChange returns the change as JSON that tms.lua reads and writes.
func encodeChange(c tms.PolicyChange) string {
	text, _ := json.Marshal(reflect.ValueOf(c).Convert(storedChange).Interface(), writeStored) // sound text cannot fail
	return string(text)
}

// decodePolicy reads a policy. What it does not name is as in [tms.DefaultPolicy].
func decodePolicy(text string) (tms.Policy, error) {
	stored := reflect.New(storedChange)
	if err := json.Unmarshal([]byte(text), stored.Interface(), readStored); err != nil {
		return tms.Policy{}, err
	}
	change := stored.Elem().Convert(reflect.TypeFor[tms.PolicyChange]()).Interface().(tms.PolicyChange)
	return change.Apply(tms.DefaultPolicy()), nil
}
