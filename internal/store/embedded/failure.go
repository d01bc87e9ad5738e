package embedded

import (
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// failure is what stopped a store, once something has.
type failure struct {
	failed chan struct{} // closed when something has
	once   sync.Once
	cause  error // set before failed is closed
}

func newFailure() *failure { return &failure{failed: make(chan struct{})} }

// fail stops the store. Only the first cause counts.
func (f *failure) fail(err error) {
	f.once.Do(func() {
		f.cause = err
		close(f.failed)
	})
}

// err returns what stopped the store, or nil.
func (f *failure) err() error {
	select {
	case <-f.failed:
		return f.cause
	default:
		return nil
	}
}

// stopped returns the error of a step that the store does not carry out any more, or nil.
func (f *failure) stopped() error {
	if err := f.err(); err != nil {
		return fmt.Errorf("the store has stopped: %w", err)
	}
	return nil
}

// panicked stops the store because of what a step panicked with. Half of the step may be in memory, so that no other
// step may see it; none of it is written.
func (f *failure) panicked(cause any, log *slog.Logger) error {
	f.fail(fmt.Errorf("a step panicked: %s", safeText(cause)))
	log.Error("a step panicked, which is a defect; the store stops", "panic", safeText(cause), "stack",
		string(debug.Stack()))
	return f.stopped()
}

// safeText is the type of what was panicked with, unless it is an error of the runtime, because the value may hold a
// token.
func safeText(cause any) string {
	if err, ok := cause.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("with a %T", cause)
}

// caught runs f and returns what it panics with as an error of one line: Pebble panics at some damage that it finds.
func caught(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("what lies there cannot be read: %s", firstLine(fmt.Sprint(r)))
		}
	}()
	return f()
}

// inOneLine returns an error with the first line of the text of err, whose further ones say the same again, and what
// helps against damage that Pebble has found.
func inOneLine(err error) error { return lineError{err} }

type lineError struct{ error }

func (e lineError) Error() string {
	text := firstLine(e.error.Error())
	if pebble.IsCorruptionError(e.error) {
		text += ": restore a backup"
	}
	return text
}

func (e lineError) Unwrap() error { return e.error }

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
