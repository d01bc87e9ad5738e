package client

import "errors"

// ErrUnreachable is in an error where the server gave no answer of its own: the connection failed or timed out, or a
// proxy answered in its place. Whether the request was carried out is unknown.
var ErrUnreachable = errors.New("the server did not answer")

// What ends a [Held]. Held.Err returns an error that wraps one of these, or [tms.ErrMaxLeaseExceeded].
var (
	ErrReleased   = errors.New("the token was given back")                            // Close or Quarantine was called
	ErrExpired    = errors.New("the lease ended before the server confirmed another") // unreachable until the deadline
	ErrNoProgress = errors.New("the lease ended because the work made no progress")   // see RequireProgress
	ErrLost       = errors.New("the server ended the lease")                          // somebody unblocked the token
	ErrDeleted    = errors.New("the token was deleted")                               // or its pool was
)
