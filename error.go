package tms

import (
	"errors"
	"fmt"
	"time"
)

// Code says why an operation was refused. It is at once the Go sentinel, the code on the wire and the label of metrics:
// errors.Is(err, [ErrNoTokenAvailable]) holds in the store, through every wrapper, and in a caller's program on the other
// side of the wire. An error that carries a Code means that nothing changed.
type Code string

// The codes of refusals. Those a request can meet before it reaches a store (a wrong method, a body that is too large)
// stand here too, so that one list names every code.
const (
	ErrInvalidRequest   Code = "invalid_request"        // a field is missing, unknown, of the wrong type or out of its limits
	ErrForbidden        Code = "forbidden"              // a page of another origin sent the request from a browser
	ErrNotFound         Code = "not_found"              // there is no such route
	ErrMethodNotAllowed Code = "method_not_allowed"     // the route does not take this method
	ErrBodyTooLarge     Code = "body_too_large"         // the request's body is over the limit
	ErrUnsupportedMedia Code = "unsupported_media_type" // the request's body is not JSON

	ErrPoolNotFound     Code = "pool_not_found"     // the pool does not exist
	ErrTokenNotFound    Code = "token_not_found"    // the token does not exist, or its clock has run out
	ErrNoTokenAvailable Code = "no_token_available" // the pool has fewer available tokens than were asked for
	ErrPoolExists       Code = "pool_exists"        // the pool exists, and was to be made
	ErrPoolFull         Code = "pool_full"          // the pool would exceed its max_tokens
	ErrPoolPaused       Code = "pool_paused"        // the pool gives no tokens for now
	ErrPoolInUse        Code = "pool_in_use"        // the pool holds what this change of its policy could not take along
	ErrQuotaExceeded    Code = "quota_exceeded"     // the client holds as many leases as the pool's max_leases_per_client

	ErrNotAssigned      Code = "not_assigned"       // nobody holds the token
	ErrNotQuarantined   Code = "not_quarantined"    // the token was not put aside
	ErrNotHolder        Code = "not_holder"         // the lease_id is required, and none was given
	ErrLeaseLost        Code = "lease_lost"         // the lease_id is not that of the token's present lease
	ErrMaxLeaseExceeded Code = "max_lease_exceeded" // the lease already lasts as long as the pool's max_lease allows

	ErrRequestIDReused Code = "request_id_reused" // the request_id was used for another request before

	ErrOverloaded       Code = "overloaded"        // the server has as much to do as it may; the same request may succeed a little later
	ErrStoreUnavailable Code = "store_unavailable" // the store could not be asked, or turned the request away unchanged
	ErrStoreReset       Code = "store_reset"       // the store was emptied; its server must be restarted before it changes anything
)

// Error returns the code itself.
func (c Code) Error() string { return string(c) }

// Refusal is a Code with what a person or a program needs beyond it.
type Refusal struct {
	Code       Code
	Field      string        // the field of the request that is at fault, as "tokens[3].metadata"; empty where none is
	Detail     string        // one sentence for a person
	RetryAfter time.Duration // when a retry may succeed; zero where nothing is known

	// Of an ErrNoTokenAvailable: how many wait in the pool's queue, and the request's place in its line of it, 1 being
	// next; zero where it does not queue.
	Waiting, Place int

	// Of an ErrNoTokenAvailable: how many tokens are available that suit the request. Where they are enough for it, others
	// wait for them.
	Available int

	// Of an ErrNoTokenAvailable: who holds the lease that ends first of all in the pool, in the client's words, and since
	// when. The instant is zero where no token is assigned, or that one is on its way to somebody who waits.
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
