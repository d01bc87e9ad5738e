package client

import (
	"errors"

	tms "github.com/manankarani/token-manager"
)

// ErrUnreachable is in an error where the server gave no answer of its own: the connection failed or timed out, or a
// proxy answered in its place. Whether the request was carried out is unknown, unless the error is [ErrNotSent] as
// well.
var ErrUnreachable = errors.New("the server did not answer")

// ErrNotSent tells, by errors.Is, of an error without a [tms.Code] that nothing was carried out all the same: no
// attempt got as far as a server that could have done it, because no connection was made, or a proxy turned the request
// away.
var ErrNotSent = errors.New("the request was not sent")

// notSent is an error that is ErrNotSent, too.
type notSent struct{ error }

func (n notSent) Is(target error) bool { return target == ErrNotSent }
func (n notSent) Unwrap() error        { return n.error }

// begun returns an error that is ErrNotSent as one that is not, because something was carried out before it.
func begun(err error) error {
	var n notSent
	if errors.As(err, &n) {
		return n.error
	}
	return err
}

// uncoded returns the error without its code, where it has one.
func uncoded(err error) error {
	if tms.CodeOf(err) == "" {
		return err
	}
	return errors.New(err.Error())
}

// What ends a [Held]. Held.Err returns an error that wraps one of these, or [tms.ErrMaxLeaseExceeded].
var (
	ErrReleased   = errors.New("the token was given back")                            // Close or Quarantine was called
	ErrExpired    = errors.New("the lease ended before the server confirmed another") // unreachable until the deadline
	ErrNoProgress = errors.New("the lease ended because the work made no progress")   // see RequireProgress
	ErrLost       = errors.New("the server ended the lease")                          // somebody unblocked the token
	ErrDeleted    = errors.New("the token was deleted")                               // or its pool was
)
