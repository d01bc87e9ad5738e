package api

import (
	"bytes"
	"errors"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
)

var noon = time.Date(2030, 1, 2, 12, 0, 0, 5_000_000, time.FixedZone("CET", 3600))

func TestAnswersOnTheWire(t *testing.T) {
	token := tms.Token{Pool: "p", Value: "t", State: tms.Assigned, ExpiresAt: noon, Lease: &tms.Lease{
		ID: "id", Fence: 7, ClientID: "c", AssignedAt: noon, ExpiresAt: noon.Add(time.Minute), TTL: time.Minute,
	}}
	bare := tms.Token{Pool: "p", Value: "t", State: tms.Available, Metadata: map[string]string{"b": "2", "a": "1"}}
	shown, deleted := TokenOf(bare), Token{Pool: "p", Token: "t", Deleted: true}
	for _, c := range []struct {
		body any
		want string
	}{
		{LeaseOf(token), `{"pool":"p","token":"t","state":"assigned","lease_id":"id","fence":7,"client_id":"c","assigned_at":"2030-01-02T11:00:00.005Z",` +
			`"lease_expires_at":"2030-01-02T11:01:00.005Z","ttl_ms":60000,"renew_after_ms":20000,"expires_at":"2030-01-02T11:00:00.005Z"}`},
		{TokenOf(token), `{"pool":"p","token":"t","state":"assigned","fence":7,"client_id":"c","assigned_at":"2030-01-02T11:00:00.005Z",` +
			`"lease_expires_at":"2030-01-02T11:01:00.005Z","ttl_ms":60000,"expires_at":"2030-01-02T11:00:00.005Z"}`},
		{LeaseOf(bare), `{"pool":"p","token":"t","state":"available","metadata":{"a":"1","b":"2"}}`},
		{GeneratedOf("p", tms.Generated{Tokens: []string{"t"}, Created: 1}), `{"pool":"p","token":"t","tokens":["t"],"created":1,"existing":0}`},
		{Results{[]Result{{Token: &shown}, {Token: &deleted}, {Problem: NewProblem(tms.ErrLeaseLost)}}},
			`{"results":[{"pool":"p","token":"t","state":"available","metadata":{"a":"1","b":"2"}},{"pool":"p","token":"t","deleted":true},` +
				`{"type":"about:blank","title":"Gone","status":410,"code":"lease_lost","detail":"the lease_id is not that of the token's present lease"}]}`},
	} {
		var wire bytes.Buffer
		if err := Encode(&wire, c.body); err != nil || wire.String() != c.want {
			t.Errorf("wrote %s, error %v\nwant  %s", wire.String(), err, c.want)
		}
	}
}

func TestProblems(t *testing.T) {
	refusal := &tms.Refusal{Code: tms.ErrNoTokenAvailable, Detail: "come back", RetryAfter: 1500*time.Millisecond + 1}
	p := NewProblem(refusal)
	want := Problem{"about:blank", "Not Found", 404, "no_token_available", "come back", "", 1501}
	if *p != want || p.RetryAfterSeconds() != 2 {
		t.Errorf("got %+v with Retry-After %d, want %+v and 2", *p, p.RetryAfterSeconds(), want)
	}
	failed := NewProblem(errors.New("dial tcp 10.0.0.7: secret"))
	want = Problem{"about:blank", "Internal Server Error", 500, CodeFailed, "the operation failed; its outcome is unknown", "", 0}
	if *failed != want || failed.RetryAfterSeconds() != 0 {
		t.Errorf("got %+v, want %+v", *failed, want)
	}
}
