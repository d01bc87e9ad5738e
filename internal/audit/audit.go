// Package audit writes down who changed what, and who was refused for want of rights.
//
// Read it downward. audit.go has the form of a line, store.go is the store that writes one for each change, and log.go
// keeps the file.
package audit

import (
	"encoding/json"
	"net/netip"
	"time"

	tms "github.com/manankarani/token-manager"
)

// Line is what is written down. It holds no token, no lease_id and no request_id, each of which gives power over a
// token to who knows it, but what tells the lines apart that are of the same one.
type Line struct {
	Time      time.Time  `json:"time"`
	ID        string     `json:"id"`               // of the call: all of its lines have it
	Trace     string     `json:"trace,omitzero"`   // the name of the request, which the answer has in X-Request-Id
	Key       string     `json:"key,omitzero"`     // by which the caller was known; empty: by none
	Address   netip.Addr `json:"address,omitzero"` // the caller's
	Verb      string     `json:"verb"`             // of the store; of a request that was not let in, its route
	Pool      string     `json:"pool,omitzero"`
	Token     string     `json:"token,omitzero"`      // HMAC of the pool and the token
	ClientID  string     `json:"client_id,omitzero"`  // in the caller's words
	Name      string     `json:"name,omitzero"`       // of a key that was made or deleted
	KeyID     string     `json:"key_id,omitzero"`     // of that key
	RequestID string     `json:"request_id,omitzero"` // HMAC
	Fence     int64      `json:"fence,omitzero"`      // of the lease that began
	Count     int        `json:"count,omitzero"`      // of tokens that were generated, or of leases that were ended
	Forced    bool       `json:"forced,omitzero"`     // without the lease_id

	// Outcome is "intent" before the call, where an audit is required, and then "ok", the code of a refusal, or
	// "failed", which means that nobody knows what became of it.
	Outcome string `json:"outcome"`
	Reason  string `json:"reason,omitzero"`
}

const (
	intent  = "intent"
	outcome = "ok"
	failed  = "failed"
)

func (l Line) encode() []byte {
	text, _ := json.Marshal(l) // a struct of texts and numbers cannot fail
	return append(text, '\n')
}

// end gives the line the outcome that an error says.
func (l *Line) end(err error) {
	code := tms.CodeOf(err)
	switch {
	case err == nil:
		l.Outcome = outcome
	case code == "":
		l.Outcome, l.Reason = failed, err.Error()
	case isDenial(err) && code != tms.ErrNotHolder: // whose details quote nothing of the request
		l.Outcome, l.Reason = string(code), err.Error()
	default:
		l.Outcome = string(code)
	}
}

// isDenial reports whether a call was refused for want of rights: without the lease_id, too.
func isDenial(err error) bool {
	code := tms.CodeOf(err)
	return code == tms.ErrNotPermitted || code == tms.ErrUnauthenticated || code == tms.ErrNotHolder
}
