package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/client"
	"github.com/manankarani/token-manager/internal/job"
)

// The exit codes of every command.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitDenied      = 4
	exitUnreachable = 69 // EX_UNAVAILABLE of sysexits.h
	exitNoneFree    = 75 // EX_TEMPFAIL
	exitLeaseLost   = 76
)

// exits is the one list of the exit codes and what they mean.
var exits = []struct {
	code  int
	means string
}{
	{exitOK, "it is done"},
	{exitFailure, "it failed, or was refused for a reason that has no code here"},
	{exitUsage, "the command line is wrong, or a value in it; nothing was done"},
	{exitNotFound, "the pool or the token does not exist, or the lease is lost"},
	{exitDenied, "whoever asked may not do that"},
	{exitUnreachable, "the server could not be reached, or its store could not"},
	{exitNoneFree, "no token is free, the wait for one is over, the pool is paused, or the client holds all it may"},
	{exitLeaseLost, "tms run only: the lease was lost and the job stopped"},
	{job.CannotRun, "tms run only: the job's command was found but could not be run"},
	{job.NotFound, "tms run only: the job's command was not found"},
}

// advice is the one table of what follows from a refusal: the exit code, and what to try next. In it {pool} and {token}
// stand for those of the request.
var advice = map[tms.Code]struct {
	exit int
	try  string
}{
	tms.ErrInvalidRequest:   {exitUsage, ""},
	tms.ErrUnauthenticated:  {exitDenied, "TMS_KEY or --key-file PATH, with a key that tms key new has made"},
	tms.ErrNotPermitted:     {exitDenied, "tms whoami, to see what the key may"},
	tms.ErrForbidden:        {exitDenied, ""},
	tms.ErrNotFound:         {exitFailure, "tms version, to see whether the server is as new as this command"},
	tms.ErrMethodNotAllowed: {exitFailure, "tms version, to see whether the server is as new as this command"},
	tms.ErrBodyTooLarge:     {exitUsage, "fewer tokens at once"},
	tms.ErrUnsupportedMedia: {exitFailure, ""},
	tms.ErrPoolNotFound:     {exitNotFound, "tms pools, to see which there are, or tms pool create {pool}, to make it"},
	tms.ErrPoolExists: {exitFailure,
		"tms pool set {pool}, to change it, or tms pool show {pool}, to see how it is"},
	tms.ErrTokenNotFound:    {exitNotFound, "tms tokens --pool {pool}, to see which there are"},
	tms.ErrNoTokenAvailable: {exitNoneFree, "--wait 1m, to wait for one, or " + whoHasThem},
	tms.ErrPoolFull:         {exitFailure, "tms pool set {pool} --max-tokens N, or tms delete some"},
	tms.ErrPoolPaused:       {exitNoneFree, "tms pool set {pool} --paused=false"},
	tms.ErrPoolSettling:     {exitNoneFree, "--wait 1m, to wait for one, or tms pool show {pool}, to see until when"},
	tms.ErrPoolInUse:        {exitFailure, "tms pool show {pool}, to see what it holds"},
	tms.ErrQuotaExceeded:    {exitNoneFree, "tms pool show {pool}, to see how many a client may hold"},
	tms.ErrNotAssigned:      {exitFailure, "tms lookup --pool {pool} {token}"},
	tms.ErrNotQuarantined:   {exitFailure, "tms lookup --pool {pool} {token}"},
	tms.ErrNotHolder:        {exitDenied, "--lease-id ID, which assign gave to the holder"},
	tms.ErrLeaseLost:        {exitNotFound, "tms lookup --pool {pool} {token}"},
	tms.ErrMaxLeaseExceeded: {exitFailure, "tms unblock, and tms assign for another lease"},
	tms.ErrRequestIDReused:  {exitUsage, "another --request-id"},
	tms.ErrRateLimited:      {exitUnreachable, "the same again, a little later, or a higher rate_limit of the server"},
	tms.ErrOverloaded:       {exitUnreachable, "the same again, a little later"},
	tms.ErrStoreUnavailable: {exitUnreachable, "tms healthcheck, on the server's machine"},
	tms.ErrStoreReset:       {exitUnreachable, "the server's log; it must be restarted"},
}

const (
	whoHasThem = "tms tokens --pool {pool} --state assigned, to see who has them, and tms unblock --pool {pool} " +
		"TOKEN, to take one from a client that is dead"
	putSome = "tms generate --pool {pool}, to put tokens into the pool, or tms pool show {pool}, to see what it holds"
)

// failure is an error that says what was tried, and on what.
type failure struct {
	what        string        // as in: assign a token of the pool "licences"
	pool, token string        // for the advice
	reads       bool          // it would have changed nothing in any case
	waited      bool          // for a token
	retryFor    time.Duration // that it was tried for; zero: once
	err         error
}

func (f *failure) Error() string {
	text := f.what + ": " + f.err.Error()
	if !f.reads {
		text += "; " + unchanged(f.err)
	}
	return text
}

func (f *failure) Unwrap() error { return f.err }

// advise returns what a person can try next, or "".
func (f *failure) advise() string {
	try := advice[tms.CodeOf(f.err)].try
	switch {
	case f.nothingThere():
		try = putSome
	case f.waited && errors.Is(f.err, tms.ErrNoTokenAvailable):
		try = whoHasThem
	case errors.Is(f.err, client.ErrUnreachable):
		try = "--server URL (TMS_SERVER), or tms serve, to start one here" + f.longer()
	case errors.Is(f.err, tms.ErrStoreUnavailable):
		try += f.longer()
	}
	return strings.NewReplacer("{pool}", f.pool, "{token}", f.token).Replace(try)
}

// nothingThere reports whether no token is free, held or due in the pool.
func (f *failure) nothingThere() bool {
	var r *tms.Refusal
	return errors.As(f.err, &r) && r.Code == tms.ErrNoTokenAvailable && r.Available == 0 && r.RetryAfter == 0 &&
		r.Waiting == 0
}

// longer proposes to try for longer, where a time for that has ended it.
func (f *failure) longer() string {
	if f.retryFor == 0 {
		return ""
	}
	return fmt.Sprintf(", or --retry-for 1m, to go on trying for longer than %v", f.retryFor)
}

// unchanged says what became of what was asked for.
func unchanged(err error) string {
	if tms.CodeOf(err) != "" || errors.Is(err, client.ErrNotSent) {
		return "nothing was changed"
	}
	return "whether it was carried out is unknown"
}

// usageError is a mistake in the command line.
type usageError string

func (e usageError) Error() string { return string(e) }

func usage(format string, args ...any) error { return usageError(fmt.Sprintf(format, args...)) }

// ended is the end of a command with a code of its own. Without an error there is nothing left to say.
type ended struct {
	code int
	err  error
}

func (e *ended) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *ended) Unwrap() error { return e.err }

// exitCode returns the code with which the process ends after the error. Those of cobra itself are about the command
// line; they come before a command has begun.
func exitCode(err error, begun bool) int {
	var own *ended
	var wrong usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &own):
		return own.code
	case errors.As(err, &wrong), !begun:
		return exitUsage
	case tms.CodeOf(err) != "":
		return exitOf(tms.CodeOf(err))
	case errors.Is(err, client.ErrUnreachable), errors.Is(err, context.DeadlineExceeded):
		return exitUnreachable
	}
	return exitFailure
}

// halfway returns the error of what has done a part already, which never has the exit code that says that nothing was
// done.
func halfway(err error) error {
	if exitCode(err, true) == exitUsage {
		return &ended{exitFailure, err}
	}
	return err
}

func exitOf(code tms.Code) int {
	if a, ok := advice[code]; ok {
		return a.exit
	}
	return exitFailure // a code of a newer server
}

// explain tells a person of the error.
func explain(out io.Writer, err error) {
	var own *ended
	if err == nil || errors.As(err, &own) && own.err == nil {
		return
	}
	fmt.Fprintln(out, "tms:", strings.ReplaceAll(err.Error(), "\n", "\ntms: "))
	var f *failure
	if errors.As(err, &f) && f.advise() != "" {
		fmt.Fprintln(out, "try:", f.advise())
	}
}

// exitHelp is the list of exit codes for the help of the whole program.
func exitHelp() string {
	var text strings.Builder
	fmt.Fprintln(&text, "Exit codes:")
	for _, e := range exits {
		fmt.Fprintf(&text, "  %3d  %s\n", e.code, e.means)
	}
	fmt.Fprint(&text, "tms run ends with the job's own code, or 128 and the number of the signal that ended it.")
	return text.String()
}
