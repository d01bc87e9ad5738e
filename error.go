package tms

import (
	"errors"
	"fmt"
	"time"
)

// Code says why an operation was refused. It is at once the Go sentinel, the code on the wire and the label of metrics:
// errors.Is(err, [ErrNoTokenAvailable]) holds in the store, through every wrapper, and in a caller's program on the
// other side of the wire. An error that carries a Code means that nothing changed.
type Code string

// The codes of refusals. Those a request can meet before it reaches a store (a wrong method, a body that is too large)
// stand here too, so that one list names every code. What each means is said by [Code.Meaning].
const (
	ErrUnauthenticated  Code = "unauthenticated"
	ErrNotPermitted     Code = "not_permitted"
	ErrInvalidRequest   Code = "invalid_request"
	ErrForbidden        Code = "forbidden"
	ErrNotFound         Code = "not_found"
	ErrMethodNotAllowed Code = "method_not_allowed"
	ErrBodyTooLarge     Code = "body_too_large"
	ErrUnsupportedMedia Code = "unsupported_media_type"

	ErrPoolNotFound     Code = "pool_not_found"
	ErrTokenNotFound    Code = "token_not_found"
	ErrNoTokenAvailable Code = "no_token_available"
	ErrPoolExists       Code = "pool_exists"
	ErrPoolFull         Code = "pool_full"
	ErrPoolPaused       Code = "pool_paused"
	ErrPoolSettling     Code = "pool_settling"
	ErrPoolInUse        Code = "pool_in_use"
	ErrQuotaExceeded    Code = "quota_exceeded"

	ErrNotAssigned      Code = "not_assigned"
	ErrNotQuarantined   Code = "not_quarantined"
	ErrNotHolder        Code = "not_holder"
	ErrLeaseLost        Code = "lease_lost"
	ErrMaxLeaseExceeded Code = "max_lease_exceeded"

	ErrRequestIDReused Code = "request_id_reused"

	ErrRateLimited      Code = "rate_limited"
	ErrOverloaded       Code = "overloaded"
	ErrStoreUnavailable Code = "store_unavailable"
	ErrStoreReset       Code = "store_reset"
)

var meanings = map[Code]string{
	ErrUnauthenticated:  "the request brings no key that the server knows",
	ErrNotPermitted:     "the key has not the right that this needs",
	ErrInvalidRequest:   "a field is missing, unknown, of the wrong type or out of its limits",
	ErrForbidden:        "a page of another origin sent the request through a browser",
	ErrNotFound:         "there is no such route",
	ErrMethodNotAllowed: "the route does not take this method",
	ErrBodyTooLarge:     "the body is over the limit",
	ErrUnsupportedMedia: "the body is not JSON, or does not say so",

	ErrPoolNotFound:     "there is no such pool",
	ErrTokenNotFound:    "there is no such token, or its clock has run out",
	ErrNoTokenAvailable: "fewer tokens are available than were asked for, or others wait for them",
	ErrPoolExists:       "there is a pool of that name already",
	ErrPoolFull:         "the pool would exceed its max_tokens; nothing was created",
	ErrPoolPaused:       "the pool is paused and gives no tokens for now",
	ErrPoolSettling:     "the store came back without its last moments, and free tokens may still be somebody's",
	ErrPoolInUse:        "the pool holds tokens or leases that the change could not take along",
	ErrQuotaExceeded:    "the client holds as many leases as the pool's max_leases_per_client",

	ErrNotAssigned:      "nobody holds the token",
	ErrNotQuarantined:   "the token is not quarantined",
	ErrNotHolder:        "the pool requires the lease_id, or the token is on its way to a waiter",
	ErrLeaseLost:        "the lease_id is not that of the token's present lease",
	ErrMaxLeaseExceeded: "the lease lasts as long as the pool's max_lease allows",

	ErrRequestIDReused: "the request_id was used for another request before",

	ErrRateLimited:      "more is asked than the rate limit allows; nothing changed, ask again a little later",
	ErrOverloaded:       "the server has as much to do as it may; ask again a little later",
	ErrStoreUnavailable: "the store cannot be asked for now, or the server stops; nothing changed",
	ErrStoreReset:       "the store was emptied; nothing is changed until the server is restarted",
}

// Meaning returns what the code means, in a sentence for a person. It is what an error says that has no detail of its
// own. Of a code that this version does not know it is empty.
func (c Code) Meaning() string { return meanings[c] }

// ErrNotDurable is wrapped by the error of an operation that may have been carried out, and is not as durable as it
// should be: fewer replicas have it than the store is to wait for. It is no refusal: the outcome is unknown.
var ErrNotDurable = errors.New("too few replicas have what was done; it may be lost")

// NoneYet reports whether err says that no token can be given for now, which waiting may change.
func NoneYet(err error) bool {
	code := CodeOf(err)
	return code == ErrNoTokenAvailable || code == ErrPoolSettling
}

// Error returns the code itself.
func (c Code) Error() string { return string(c) }

// Refusal is a Code with what a person or a program needs beyond it.
type Refusal struct {
	Code       Code
	Field      string        // the field of the request that is at fault, as "tokens[3].metadata"; empty where none is
	Detail     string        // one sentence for a person
	RetryAfter time.Duration // when a retry may succeed; zero where nothing is known

	// Of an ErrNoTokenAvailable or an ErrPoolSettling: how many wait in the pool's queue, and the request's place in
	// its line of it, 1 being next; zero where it does not queue.
	Waiting, Place int

	// Of an ErrNoTokenAvailable or an ErrPoolSettling: how many tokens are available that suit the request. Where they
	// are enough for it, others wait for them.
	Available int

	// Of an ErrNoTokenAvailable: who holds the lease that ends first of all in the pool, in the client's words, and
	// since when. The instant is zero where no token is assigned, or that one is on its way to somebody who waits.
	HeldBy    string
	HeldSince time.Time
}

// Refuse returns a Refusal whose Detail is made with [fmt.Sprintf].
func Refuse(code Code, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// Invalid returns a Refusal with the code [ErrInvalidRequest] for the named field.
func Invalid(field, format string, args ...any) *Refusal {
	return &Refusal{Code: ErrInvalidRequest, Field: field, Detail: fmt.Sprintf(format, args...)}
}

// Error returns the code, the field and the detail.
func (r *Refusal) Error() string {
	text := string(r.Code)
	if r.Field != "" {
		text += ": " + r.Field
	}
	if r.Detail != "" {
		text += ": " + r.Detail
	}
	return text
}

// Unwrap returns the Code, so that errors.Is finds it.
func (r *Refusal) Unwrap() error { return r.Code }

// CodeOf returns the Code that err carries. It returns "" for nil and for an error without one, which means that an
// operation failed and its outcome is unknown.
func CodeOf(err error) Code {
	var code Code
	errors.As(err, &code)
	return code
}
