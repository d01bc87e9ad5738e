package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/rueidis"

	tms "github.com/manankarani/token-manager"
)

// unsent is an error from before anything was sent.
type unsent struct{ error }

func (u unsent) Unwrap() error { return u.error }

// refusals are the words with which Redis begins the errors that it answers before a function has run.
var refusals = []string{
	"OOM", "READONLY", "LOADING", "MISCONF", "NOREPLICAS", "MASTERDOWN", "BUSY", // its state
	"NOAUTH", "WRONGPASS", "NOPERM", // our rights
	"MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", // the cluster's state
}

// outcome returns the error of a call in the words of the contract: a refusal if Redis surely did nothing, or else an
// error without a code. Errors that have one already stay as they are.
func outcome(err error) error {
	if tms.CodeOf(err) != "" {
		return err
	}
	var early unsent
	if errors.As(err, &early) || neverRan(err) {
		return tms.Refuse(tms.ErrStoreUnavailable, "%s", explain(err))
	}
	return fmt.Errorf("redis: %w", err)
}

// neverRan reports whether Redis answered with an error from before the function.
func neverRan(err error) bool {
	answered, ok := asRedis(err)
	if !ok {
		return false
	}
	word, _, _ := strings.Cut(answered, " ")
	return slices.Contains(refusals, word) || answered == unknownFunction ||
		strings.HasPrefix(answered, "unknown command")
}

// unknownFunction is the answer to FCALL of a server that has not loaded the library. rueidis cuts the leading "ERR ".
const unknownFunction = "Function not found"

func isUnknownFunction(err error) bool {
	answered, ok := asRedis(err)
	return ok && answered == unknownFunction
}

// asRedis returns the text of an error that Redis answered.
func asRedis(err error) (string, bool) {
	var answered *rueidis.RedisError
	if !errors.As(err, &answered) {
		return "", false
	}
	return answered.Error(), true
}

// explain says what is wrong in words for an operator.
func explain(err error) string {
	text, answered := asRedis(err)
	word, _, _ := strings.Cut(text, " ")
	switch {
	case word == "WRONGPASS", word == "NOAUTH":
		return "redis does not take the user or password: " + text
	case answered:
		return "redis refuses: " + text
	case errors.Is(err, context.DeadlineExceeded):
		return "redis cannot be reached in time: " + err.Error()
	}
	return "redis cannot be reached: " + err.Error()
}
