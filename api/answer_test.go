package api

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
		{LeaseOf(token), `{"pool":"p","token":"t","state":"assigned","lease_id":"id","fence":7,"client_id":"c",` +
			`"assigned_at":"2030-01-02T11:00:00.005Z",` +
			`"lease_expires_at":"2030-01-02T11:01:00.005Z","ttl_ms":60000,"renew_after_ms":20000,` +
			`"expires_at":"2030-01-02T11:00:00.005Z"}`},
		{TokenOf(token), `{"pool":"p","token":"t","state":"assigned","fence":7,"client_id":"c",` +
			`"assigned_at":"2030-01-02T11:00:00.005Z",` +
			`"lease_expires_at":"2030-01-02T11:01:00.005Z","ttl_ms":60000,"expires_at":"2030-01-02T11:00:00.005Z"}`},
		{LeaseOf(bare), `{"pool":"p","token":"t","state":"available","metadata":{"a":"1","b":"2"}}`},
		{TokenOf(tms.Token{Pool: "p", Value: "t", State: tms.Available, Past: &tms.Past{}}),
			`{"pool":"p","token":"t","state":"available","assigned_count":0,"expired_count":0}`},
		{TokenOf(tms.Token{Pool: "p", Value: "t", State: tms.Available,
			Past: &tms.Past{Assigned: 3, Expired: 1, Since: noon, LastClient: "c"}}),
			`{"pool":"p","token":"t","state":"available","assigned_count":3,"expired_count":1,` +
				`"since":"2030-01-02T11:00:00.005Z","last_client_id":"c"}`},
		{AssignedOf([]tms.Token{bare}, 1), `{"pool":"p","token":"t","state":"available","metadata":{"a":"1","b":"2"}}`},
		{AssignedOf([]tms.Token{{Pool: "p", Value: "t", State: tms.Available}}, 2),
			`{"leases":[{"pool":"p","token":"t","state":"available"}]}`},
		{GeneratedOf("p", tms.Generated{Tokens: []string{"t"}, Created: 1}),
			`{"pool":"p","token":"t","tokens":["t"],"created":1,"existing":0}`},
		{Results{[]Result{{Token: &shown}, {Token: &deleted}, {Problem: NewProblem(tms.ErrLeaseLost)}}},
			`{"results":[{"pool":"p","token":"t","state":"available","metadata":{"a":"1","b":"2"}},{"pool":"p",` +
				`"token":"t","deleted":true},` +
				`{"type":"about:blank","title":"Gone","status":410,"code":"lease_lost","detail":"the lease_id is ` +
				`not that of the token's present lease"}]}`},
	} {
		var wire bytes.Buffer
		if err := Encode(&wire, c.body); err != nil || wire.String() != c.want {
			t.Errorf("wrote %s, error %v\nwant  %s", wire.String(), err, c.want)
		}
	}
}

func TestProblems(t *testing.T) {
	for _, c := range []struct {
		err     error
		want    Problem
		seconds int64
	}{
		{&tms.Refusal{Code: tms.ErrNoTokenAvailable, Detail: "come back", RetryAfter: 1500*time.Millisecond + 1,
			Waiting:   7,
			Place:     3,
			Available: 2, HeldBy: "c", HeldSince: noon},
			Problem{Title: "Not Found", Status: 404, Code: "no_token_available", Detail: "come back",
				RetryAfterMS: 1501,
				Waiting:      new(7), Place: 3,
				Available: new(2), HeldBy: "c", HeldSince: Time{noon}}, 2},
		{tms.ErrNoTokenAvailable,
			Problem{Title: "Not Found", Status: 404, Code: "no_token_available",
				Detail:  meaningOf("no_token_available"),
				Waiting: new(0), Available: new(0)}, 0},
		{&tms.Refusal{Code: tms.ErrPoolFull, Detail: "no", Waiting: 7, Place: 3, Available: 2, HeldBy: "c"},
			Problem{Title: "Conflict", Status: 409, Code: "pool_full", Detail: "no"}, 0},
		{errors.New("dial tcp 10.0.0.7: secret"),
			Problem{Title: "Internal Server Error", Status: 500, Code: CodeFailed,
				Detail: "the operation failed; its outcome is unknown"}, 0},
	} {
		p := NewProblem(c.err)
		c.want.Type = "about:blank"
		if diff := cmp.Diff(c.want, *p); diff != "" || p.RetryAfterSeconds() != c.seconds {
			t.Errorf("%v has Retry-After %d, want %d (-want +got):\n%s", c.err, p.RetryAfterSeconds(), c.seconds, diff)
		}
	}
}
