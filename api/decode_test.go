package api

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	tms "github.com/manankarani/token-manager"
)

// TestBadBodies has clumsy and hostile bodies, each with the field that the refusal must name.
func TestBadBodies(t *testing.T) {
	for _, c := range []struct {
		name, body, field, detail string
		into                      func() any
	}{
		{"unknown field", `{"pool":"a","wiat":"1s"}`, "wiat", "is not a field here", assign},
		{"unknown field of an entry", `{"leases":[{"token":"a"},{"token":"b","tll":"1s"}]}`, "leases[1].tll",
			"is not a field", keepAlive},
		{"a field of keep-alive in unblock", `{"token":"a","ttl":"1s"}`, "ttl", "is not a field here", key},
		{"field in other case", `{"Pool":"a"}`, "Pool", "is not a field here", assign},
		{"field twice", `{"pool":"a","pool":"b"}`, "pool", "is given twice", assign},
		{"field of an entry twice", `{"leases":[{"token":"a","token":"b"}]}`, "leases[0].token", "is given twice", key},
		{"metadata key twice", `{"tokens":[{"metadata":{"a":"1","a":"2"}}]}`, "tokens[0].metadata.a", "is given twice",
			generate},
		{"number for text", `{"pool":7}`, "pool", "must be a string, is a number", assign},
		{"text for number", `{"count":"7"}`, "count", "must be an integer, is a string", assign},
		{"fraction", `{"count":1.5}`, "count", "must be an integer", assign},
		{"huge integer", `{"count":99999999999999999999999}`, "count", "out of range", assign},
		{"exponent", `{"count":1e2}`, "count", "must be an integer", assign},
		{"NaN", `{"count":NaN}`, "count", "not JSON at byte", assign},
		{"duration as number", `{"ttl":90}`, "ttl", `must be a duration such as "90s"`, assign},
		{"duration without unit", `{"ttl":"90"}`, "ttl", `must be a duration such as "90s"`, assign},
		{"duration too long to count", `{"ttl":"99999999h"}`, "ttl", "must be a duration", assign},
		{"array for object", `[]`, "", "the body must be an object, is an array", assign},
		{"null", `null`, "", "the body must not be null", assign},
		{"null lease_id", `{"token":"a","lease_id":null}`, "lease_id", "must not be null", key},
		{"empty lease_id", `{"token":"a","lease_id":""}`, "lease_id", "must not be empty; leave it out", key},
		{"empty lease_id in a batch", `{"leases":[{"token":"a"},{"token":"b","lease_id": ""}]}`, "leases[1].lease_id",
			"must not be empty", keepAlive},
		{"empty lease_id of delete", `{"token":"a","lease_id":""}`, "lease_id", "must not be empty", remove},
		{"empty request_id", `{"request_id":""}`, "request_id", "must not be empty", generate},
		{"empty request_id of assign", `{"match":{"a":"","b":"x"},"request_id":""}`, "request_id", "must not be empty",
			assign},
		{"empty client_id", `{"client_id":""}`, "client_id", "must not be empty", assign},
		{"empty client_id of unblock", `{"client_id":""}`, "client_id", "must not be empty", key},
		{"empty prefer", `{"prefer":""}`, "prefer", "must not be empty", assign},
		{"empty pool", `{"pool":"","token":"a"}`, "pool", "must not be empty", key},
		{"empty token to restore", `{"tokens":["a",""]}`, "tokens[1]", "must not be empty", restore},
		{"empty token beside a batch", `{"leases":[{"token":"a"}],"token":""}`, "token", "must not be empty", key},
		{"empty label", `{"labels":["a",""]}`, "labels[1]", "must not be empty", policy},
		{"null in a batch", `{"tokens":["null",null]}`, "tokens[1]", "must be a string, or an object", generate},
		{"token as number", `{"tokens":["a",7]}`, "tokens[1]", "must be a string, or an object", generate},
		{"empty token", `{"tokens":["a",""]}`, "tokens[1]", "must not be empty", generate},
		{"empty token in an object", `{"tokens":[{"token":""}]}`, "tokens[0]", "must not be empty", generate},
		{"unknown field of a token", `{"tokens":[{"token":"a","meta":{}}]}`, "tokens[0].meta", "is not a field",
			generate},
		{"metadata of numbers", `{"tokens":[{"metadata":{"a":1}}]}`, "tokens[0].metadata.a",
			"must be a string, is a number",
			generate},
		{"metadata as text", `{"tokens":[{"metadata":"a"}]}`, "tokens[0].metadata", "must be an object, is a string",
			generate},
		{"object for array", `{"leases":{"token":"a"}}`, "leases", "must be an array, is an object", key},
		{"unknown outcome", `{"leases":[{"token":"a"},{"token":"b","outcome":"burn"}]}`, "leases[1].outcome",
			"must be release or quarantine", key},
		{"empty outcome", `{"token":"a","outcome":""}`, "outcome", "must be release or quarantine", key},
		{"outcome as number", `{"token":"a","outcome":1}`, "outcome", "must be a string, is a number", key},
		{"a key of unblock in delete", `{"token":"a","outcome":"release"}`, "outcome", "is not a field here", remove},
		{"match as text", `{"match":"a=b"}`, "match", "must be an object, is a string", assign},
		{"match of numbers", `{"match":{"a":1}}`, "match.a", "must be a string, is a number", assign},
		{"match key twice", `{"match":{"a":"1","a":"1"}}`, "match.a", "is given twice", assign},
		{"null wait", `{"wait":null}`, "wait", "must not be null", assign},
		{"wait as number", `{"wait":30}`, "wait", `must be a duration such as "90s"`, assign},
		{"tokens of objects", `{"tokens":[{"token":"a"}]}`, "tokens[0]", "must be a string, is an object", restore},
		{"boolean as text", `{"paused":"yes"}`, "paused", "must be true or false, is a string", policy},
		{"trailing data", `{"pool":"a"} {"pool":"b"}`, "", "not JSON at byte 13", assign},
		{"trailing comma", `{"pool":"a",}`, "", "not JSON", assign},
		{"cut off", `{"pool":"a"`, "", "not JSON", assign},
		{"form", `pool=a`, "", "not JSON", assign},
		{"not UTF-8", "{\"pool\":\"\xff\"}", "pool", "UTF-8", assign},
		{"half a surrogate", `{"pool":"\ud800"}`, "pool", "", assign},
		{"nested deep", `{"pool":` + strings.Repeat("[", 100_000), "pool" + strings.Repeat("[0]", 65) + "[…",
			"max depth",
			assign},
		{"unknown and nested deep", `{"x":` + strings.Repeat(`{"x":`, 100_000), "x", "", assign},
		{"long unknown name", `{"` + strings.Repeat("é", 100_000) + `":1}`, strings.Repeat("é", 100) + "…",
			"is not a field",
			assign},
	} {
		t.Run(c.name, func(t *testing.T) {
			var refusal *tms.Refusal
			if err := Decode([]byte(c.body), c.into()); !errors.As(err, &refusal) {
				t.Fatalf("decoded, error %v; want a refusal", err)
			}
			if refusal.Field != c.field || !strings.Contains(refusal.Detail, c.detail) ||
				refusal.Code != tms.ErrInvalidRequest {
				t.Errorf("refused with %q of field %q: %q\nwant field %q: %q", refusal.Code, refusal.Field,
					refusal.Detail, c.field,
					c.detail)
			}
			if len(refusal.Detail) > 300 {
				t.Errorf("the detail has %d bytes", len(refusal.Detail))
			}
		})
	}
}

func assign() any    { return new(AssignRequest) }
func keepAlive() any { return new(KeepAliveRequest) }
func key() any       { return new(UnblockRequest) }
func remove() any    { return new(DeleteRequest) }
func restore() any   { return new(RestoreRequest) }
func generate() any  { return new(GenerateRequest) }
func policy() any    { return new(Policy) }

func TestEmptyBodyMeansTheDefaults(t *testing.T) {
	for _, body := range []string{"", " \r\n\t", "{}"} {
		var r AssignRequest
		if err := Decode([]byte(body), &r); err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		got, err := r.AssignRequest()
		if diff := cmp.Diff(tms.AssignRequest{Count: 1}, got); diff != "" || err != nil {
			t.Errorf("%q: %v\n%s", body, err, diff)
		}
	}
}

// TestMetadataMayBeEmpty: a key of metadata can have an empty value, whatever it is called.
func TestMetadataMayBeEmpty(t *testing.T) {
	for body, into := range map[string]any{
		`{"tokens":[{"token":"a","metadata":{"lease_id":"","metadata":"","n":"null"}}]}`: generate(),
		`{"match":{"request_id":""}}`: assign(),
	} {
		if err := Decode([]byte(body), into); err != nil {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// TestBadFields has bodies that decode and whose values are refused, each with the field that the refusal must name.
func TestBadFields(t *testing.T) {
	long := strings.Repeat("x", 5_000)
	for _, c := range []struct {
		body, field string
		into        request
	}{
		{`{"count":0}`, "count", new(generateChecked)},
		{`{"count":-1}`, "count", new(generateChecked)},
		{`{"count":10001}`, "count", new(generateChecked)},
		{`{"count":1,"tokens":["a"]}`, "count", new(generateChecked)},
		{`{"tokens":[]}`, "tokens", new(generateChecked)},
		{`{"tokens":["a"` + strings.Repeat(`,"a"`, 10_000) + `]}`, "tokens", new(generateChecked)},
		{`{"tokens":["a","b\u0000"]}`, "tokens[1]", new(generateChecked)},
		{`{"tokens":["a","` + long + `"]}`, "tokens[1]", new(generateChecked)},
		{`{"tokens":[{"metadata":{"k":"` + long + `"}}]}`, "tokens[0].metadata", new(generateChecked)},
		{`{"tokens":[{"metadata":{"":"v"}}]}`, "tokens[0].metadata", new(generateChecked)},
		{`{"count":0}`, "count", new(assignChecked)},
		{`{"count":1001}`, "count", new(assignChecked)},
		{`{"ttl":"0s"}`, "ttl", new(assignChecked)},
		{`{"ttl":"-5s"}`, "ttl", new(assignChecked)},
		{`{"ttl":"1ns"}`, "ttl", new(assignChecked)},
		{`{"ttl":"1000h"}`, "ttl", new(assignChecked)},
		{`{"ttl":"1.0005s"}`, "ttl", new(assignChecked)},
		{`{"client_id":"` + long + `"}`, "client_id", new(assignChecked)},
		{`{"client_id":"a\nb"}`, "client_id", new(assignChecked)},
		{`{"wait":"-1s"}`, "wait", new(assignChecked)},
		{`{"wait":"1ns"}`, "wait", new(assignChecked)},
		{`{"wait":"1.0005s"}`, "wait", new(assignChecked)},
		{`{"wait":"1s","count":2,"match":{"a":"b"}}`, "match", new(assignChecked)},
		{`{"match":{"a":"` + long + `"}}`, "match", new(assignChecked)},
		{`{"match":{"":"b"}}`, "match", new(assignChecked)},
		{`{"prefer":"` + long + `"}`, "prefer", new(assignChecked)},
		{`{"prefer":"a\u0000"}`, "prefer", new(assignChecked)},
		{`{"request_id":"` + long + `"}`, "request_id", new(assignChecked)},
		{`{"request_id":"a\r\nb"}`, "request_id", new(generateChecked)},
		{`{}`, "token", new(keepAliveChecked)},
		{`{"token":"a","ttl":"0s"}`, "ttl", new(keepAliveChecked)},
		{`{"token":"a","lease_id":"` + long + `"}`, "lease_id", new(keepAliveChecked)},
		{`{"leases":[]}`, "leases", new(keepAliveChecked)},
		{`{"leases":[{}]}`, "leases[0].token", new(keepAliveChecked)},
		{`{"leases":[{"token":"a"},{"token":"b","ttl":"0s"}]}`, "leases[1].ttl", new(keepAliveChecked)},
		{`{"leases":[{"token":"a"}],"ttl":"1s"}`, "ttl", new(keepAliveChecked)},
		{`{"leases":[{"token":"a"}],"token":"b"}`, "token", new(keyChecked)},
		{`{"leases":[],"lease_id":"b"}`, "lease_id", new(keyChecked)},
		{`{"leases":[{"token":"a"},{"lease_id":"b"}]}`, "leases[1].token", new(keyChecked)},
		{`{"leases":[{"token":"a"}],"outcome":"release"}`, "outcome", new(keyChecked)},
		{`{"leases":[{"token":"a"}],"cooldown":"1s"}`, "cooldown", new(keyChecked)},
		{`{"token":"a","outcome":"quarantine","cooldown":"1s"}`, "cooldown", new(keyChecked)},
		{`{"leases":[{"token":"a","cooldown":"99ms"}]}`, "leases[0].cooldown", new(keyChecked)},
		{`{"cooldown":"0s","client_id":"c"}`, "cooldown", new(keyChecked)},
		{`{"leases":[],"client_id":"c"}`, "leases", new(keyChecked)},
		{`{"token":"a","client_id":"c"}`, "token", new(keyChecked)},
		{`{"lease_id":"a","client_id":"c"}`, "lease_id", new(keyChecked)},
		{`{"outcome":"release","client_id":"c"}`, "outcome", new(keyChecked)},
		{`{"client_id":"` + long + `"}`, "client_id", new(keyChecked)},
		{`{}`, "token", new(restoreChecked)},
		{`{"tokens":[]}`, "tokens", new(restoreChecked)},
		{`{"tokens":["a"],"token":"b"}`, "token", new(restoreChecked)},
	} {
		if err := Decode([]byte(c.body), c.into); err != nil {
			t.Errorf("%.80s: does not decode: %v", c.body, err)
			continue
		}
		var refusal *tms.Refusal
		if err := c.into.check(); !errors.As(err, &refusal) || refusal.Field != c.field {
			t.Errorf("%.80s: error %v, want a refusal of %s", c.body, err, c.field)
		}
	}
}

type (
	request          interface{ check() error }
	generateChecked  struct{ GenerateRequest }
	assignChecked    struct{ AssignRequest }
	keepAliveChecked struct{ KeepAliveRequest }
	keyChecked       struct{ UnblockRequest }
	restoreChecked   struct{ RestoreRequest }
)

func (r *generateChecked) check() error  { _, err := r.GenerateRequest.GenerateRequest(); return err }
func (r *assignChecked) check() error    { _, err := r.AssignRequest.AssignRequest(); return err }
func (r *keepAliveChecked) check() error { _, _, err := r.Keys(); return err }
func (r *restoreChecked) check() error   { _, _, err := r.Values(); return err }
func (r *keyChecked) check() error {
	if client, err := r.Client(); client != "" || err != nil {
		return err
	}
	_, _, err := r.Keys()
	return err
}

func TestRequestsAreReadAsTheyAreWritten(t *testing.T) {
	count, ttl := 7, Duration(90*time.Second)
	for _, c := range []struct {
		wire      string
		body, out any
	}{
		{`{"pool":"a","tokens":["x",{"token":"y","metadata":{"k":"v"}},{"metadata":{"k":"v"}},{}]}`,
			&GenerateRequest{Pool: "a", Tokens: []NewToken{{Token: "x"}, {"y", map[string]string{"k": "v"}},
				{Metadata: map[string]string{"k": "v"}}, {}}},
			new(GenerateRequest)},
		{`{"client_id":"c","ttl":"1m30s","count":7}`, &AssignRequest{ClientID: "c", TTL: &ttl, Count: &count},
			new(AssignRequest)},
		{`{"token":"a","lease_id":"b","ttl":"1m30s"}`, &KeepAliveRequest{KeepAliveKey: KeepAliveKey{"a", "b", &ttl}},
			new(KeepAliveRequest)},
		{`{"leases":[{"token":"a","lease_id":"b","outcome":"quarantine"}]}`,
			&UnblockRequest{Leases: []UnblockKey{{Token: "a", LeaseID: "b", Outcome: OutcomeQuarantine}}},
			new(UnblockRequest)},
	} {
		var wire bytes.Buffer
		if err := Encode(&wire, c.body); err != nil || wire.String() != c.wire {
			t.Errorf("wrote %s, error %v, want %s", wire.String(), err, c.wire)
		}
		err := Decode([]byte(c.wire), c.out)
		if diff := cmp.Diff(c.body, c.out); diff != "" || err != nil {
			t.Errorf("read %s: error %v\n%s", c.wire, err, diff)
		}
	}
}
