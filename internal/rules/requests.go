package rules

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	tms "github.com/manankarani/token-manager"
)

// Remembered is what a pool remembers of a request with a RequestID that was carried out.
type Remembered struct {
	Print string // of the request's content
	Until int64  // the last instant at which it is remembered

	Leases []Granted `json:",omitempty"` // of an assign

	Seed      string `json:",omitempty"` // of a generate: what its values were drawn from
	Created   int    `json:",omitempty"`
	Existing  int    `json:",omitempty"`
	Differing int    `json:",omitempty"`
	ExpiresAt int64  `json:",omitempty"`
}

// Granted names a lease that an assign gave.
type Granted struct{ Token, ID string }

// Memory returns under which name what the request is given is remembered, and for how many ms: that of the request, or
// else that of its ticket, which is none that a request can have. "": it is not.
func Memory(p tms.Policy, r tms.AssignRequest) (name string, life int64) {
	switch {
	case r.RequestID != "":
		return r.RequestID, p.RequestTTL.Milliseconds()
	case r.Ticket != "":
		return ticketMark + r.Ticket, tms.AnswerTime.Milliseconds()
	}
	return "", 0
}

const ticketMark = "\n"

// OfTicket reports whether the name of a memory is that of a ticket.
func OfTicket(name string) bool { return strings.HasPrefix(name, ticketMark) }

// Recall returns what is remembered of a request with this content, or nil where nothing is, or refuses one that was
// used for another request.
func (r *Remembered) Recall(print string, now int64) (*Remembered, error) {
	switch {
	case r == nil || now > r.Until:
		return nil, nil
	case r.Print != print && r.Print != givenUp:
		return nil, Reused()
	}
	return r, nil
}

// givenUp is the print of a request that was given up before it was carried out, whatever its content.
const givenUp = "-"

// GivenUp is what is to be remembered of a request that nobody is to carry out any more.
func GivenUp() *Remembered { return &Remembered{Print: givenUp} }

// IsAssign reports whether it is an assign that is remembered, or one that was given up.
func (r *Remembered) IsAssign() bool { return r.Seed == "" }

// Gave is what is to be remembered of an assign.
func Gave(r tms.AssignRequest, tokens []tms.Token) *Remembered {
	m := &Remembered{Print: AssignPrint(r)}
	for _, t := range tokens {
		m.Leases = append(m.Leases, Granted{t.Value, t.Lease.ID})
	}
	return m
}

// Made is what is to be remembered of a generate whose missing values were drawn from the seed.
func Made(r tms.GenerateRequest, seed string, g tms.Generated) *Remembered {
	m := &Remembered{Print: GeneratePrint(r), Seed: seed, Created: g.Created, Existing: g.Existing,
		Differing: g.Differing}
	if !g.ExpiresAt.IsZero() {
		m.ExpiresAt = g.ExpiresAt.UnixMilli()
	}
	return m
}

// Generated answers a repeated generate. It returns the zero value where nothing is remembered.
func (r *Remembered) Generated(request tms.GenerateRequest) (g tms.Generated) {
	if r == nil {
		return g
	}
	for _, t := range Values(request.Tokens, r.Seed) {
		g.Tokens = append(g.Tokens, t.Value)
	}
	g.Created, g.Existing, g.Differing = r.Created, r.Existing, r.Differing
	if r.ExpiresAt > 0 {
		g.ExpiresAt = Instant(r.ExpiresAt)
	}
	return g
}

// AssignPrint returns what tells the content of a request from that of others. How it waits is not a part of it.
func AssignPrint(r tms.AssignRequest) string {
	return fingerprint("assign", r.ClientID, max(1, r.Count), r.TTL, r.Prefer, r.Match)
}

// GeneratePrint returns what tells the content of a request from that of others.
func GeneratePrint(r tms.GenerateRequest) string {
	if r.Update {
		return fingerprint("update", r.Tokens)
	}
	return fingerprint("generate", r.Tokens)
}

// Brings reports whether any of the tokens has metadata.
func Brings(tokens []tms.NewToken) bool {
	return slices.ContainsFunc(tokens, func(t tms.NewToken) bool { return len(t.Metadata) > 0 })
}

// Differs reports whether a token has other metadata than is brought for it. Where none is brought, nothing is said of
// it.
func Differs(has, brought map[string]string) bool {
	return len(brought) > 0 && !maps.Equal(has, brought)
}

func fingerprint(content ...any) string {
	text, _ := json.Marshal(content) // of strings, numbers and maps of strings cannot fail
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// Named returns the request's tokens with the values that are missing: drawn with newID, or from the seed if the
// request can be repeated.
func Named(r tms.GenerateRequest, seed string, newID func() string) []tms.NewToken {
	if r.RequestID != "" {
		return Values(r.Tokens, seed)
	}
	named := slices.Clone(r.Tokens)
	for i := range named {
		if named[i].Value == "" {
			named[i].Value = newID()
		}
	}
	return named
}

// Drawn reports whether TMS draws all values of the request, so that nobody can hold one that is new.
func Drawn(r tms.GenerateRequest) bool {
	return !slices.ContainsFunc(r.Tokens, func(t tms.NewToken) bool { return t.Value != "" })
}

// Values returns the tokens with the values that are missing drawn from the seed, so that a repeated request is
// answered with the same ones although only the seed is remembered. The generator is cryptographic (ChaCha8): nobody
// who has not got the seed can tell the values.
func Values(tokens []tms.NewToken, seed string) []tms.NewToken {
	source := rand.NewChaCha8(sha256.Sum256([]byte(seed)))
	named := make([]tms.NewToken, len(tokens))
	for i, t := range tokens {
		named[i] = t
		if t.Value == "" {
			named[i].Value = tms.Value([16]byte(bytesOf(source)))
		}
	}
	return named
}

func bytesOf(source *rand.ChaCha8) []byte {
	random := make([]byte, 16)
	source.Read(random)
	return random
}

// PresentUntil returns the last instant at which a ticket that is shown at now is present.
func PresentUntil(now int64) int64 { return now + tms.PresenceTime.Milliseconds() }

// KeptUntil returns the last instant at which an absent ticket that leaves at now keeps its place.
func KeptUntil(now int64) int64 { return now + tms.TicketTTL.Milliseconds() }

// KeptAfter returns the last instant at which a ticket that was present until an instant keeps its place.
func KeptAfter(present int64) int64 {
	return present + (tms.TicketTTL - tms.PresenceTime).Milliseconds()
}

// PickupEnd returns the last instant at which a token that is handed at now can be picked up.
func PickupEnd(now int64) int64 { return now + tms.PickupTime.Milliseconds() }
