package api

import (
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
)

// A short answer says of each key what the full one says: whether it was done, why not, and for how long its lease
// lasts at least.
func TestAShortAnswerIsReadAsItWasMeant(t *testing.T) {
	keys := []tms.LeaseKey{{Token: "a", LeaseID: "1"}, {Token: "b"}, {Token: "c", LeaseID: "3"}, {Token: "d"}}
	lease := func(ttl time.Duration) *tms.Lease { return &tms.Lease{TTL: ttl} }
	short := ShortOf([]tms.TokenResult{{Token: tms.Token{Lease: lease(time.Minute)}}, {Token: tms.Token{}},
		{Token: tms.Token{Lease: lease(time.Second)}}, {Err: tms.ErrTokenNotFound}})
	if short.Done != 3 || short.TTLMS != 1_000 || short.RenewAfterMS != 333 || len(short.Refused) != 1 {
		t.Errorf("got %+v", short)
	}
	got := short.TMS("p", keys)
	for i, r := range got {
		if (r.Err != nil) != (i == 3) || (r.Token.Lease != nil) != (keys[i].LeaseID != "") {
			t.Errorf("key %d: %+v", i, r)
		}
		if l := r.Token.Lease; l != nil && (l.TTL != time.Second || l.ID != keys[i].LeaseID) {
			t.Errorf("key %d: %+v", i, l)
		}
	}
	if tms.CodeOf(got[3].Err) != tms.ErrTokenNotFound {
		t.Errorf("got %v", got[3].Err)
	}
}

// An answer that is none for these keys is no answer.
func TestAShortAnswerToOtherKeys(t *testing.T) {
	keys := make([]tms.LeaseKey, 2)
	for _, bad := range []Short{{}, {Done: 1}, {Done: 3}, {Done: 1, Refused: []Refused{{Index: 0}}},
		{Done: 1, Refused: []Refused{{2, NewProblem(tms.ErrLeaseLost)}}},
		{Done: 1, Refused: []Refused{{-1, NewProblem(tms.ErrLeaseLost)}}}} {
		if got := bad.TMS("p", keys); got != nil {
			t.Errorf("%+v is read as %v", bad, got)
		}
	}
}
