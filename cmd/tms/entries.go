package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

// entry is a new token as it stands in an input.
type entry struct {
	tms.NewToken
	state tms.State // of another time; empty: it does not say
	line  int
	size  int   // bytes of its text
	read  int64 // bytes of the input so far, about
}

// entries reads the tokens of an input one by one, and returns io.EOF after the last. An error about a line is a
// badLine.
type entries interface{ next() (entry, error) }

// badLine is a line that cannot be taken.
type badLine struct {
	line int
	err  error
}

func (b *badLine) Error() string { return fmt.Sprintf("%d: %v", b.line, b.err) }

func (b *badLine) Unwrap() error { return b.err }

// textEntries reads a token from each line, or from each an object, if the first is one.
type textEntries struct {
	lines   *lines
	rules   newValue
	objects bool
	begun   bool

	separated int // lines with a comma
	all       int
}

func (t *textEntries) next() (entry, error) {
	line, err := t.lines.next()
	if refused := (*tms.Refusal)(nil); errors.As(err, &refused) {
		return entry{}, &badLine{t.lines.number, err}
	} else if err != nil {
		return entry{}, err
	}
	e := entry{line: t.lines.number, size: len(line), read: t.lines.read}
	if err := t.parse(line, &e); err != nil {
		return e, &badLine{t.lines.number, err}
	}
	return e, nil
}

func (t *textEntries) parse(line string, e *entry) (err error) {
	first := !t.begun
	if first {
		t.begun, t.objects = true, strings.HasPrefix(strings.TrimSpace(line), "{")
	}
	if t.objects {
		return t.object(line, e)
	}
	t.all++
	if strings.ContainsAny(line, ",;") {
		t.separated++
	}
	e.Value, err = t.rules.line(line, first)
	return err
}

// importLine is a line of a file of objects. Its state is one of another time, and says only what is broken.
type importLine struct {
	Token    string            `json:"token"`
	Metadata map[string]string `json:"metadata"`
	State    tms.State         `json:"state"`
}

func (t *textEntries) object(line string, e *entry) (err error) {
	var object importLine
	switch {
	case !strings.HasPrefix(strings.TrimSpace(line), "{"):
		return tms.Invalid("", "is no JSON object, as the first line is; all lines must be objects, or none")
	case !json.Valid([]byte(line)):
		return tms.Invalid("", "is not JSON; each object must stand on one line, and be alone there")
	}
	if err := api.Decode([]byte(line), &object); err != nil {
		return err
	}
	e.Metadata, e.state = object.Metadata, object.State
	if e.Value, err = t.rules.check("token", object.Token); err != nil {
		return err
	}
	return tms.ValidateMetadata("metadata", object.Metadata)
}

// warning returns what a person may not have meant of what was read; "": nothing.
func (t *textEntries) warning() string {
	if t.all == 0 || t.separated < t.all {
		return ""
	}
	return "every line has a comma or a semicolon, and is a token as a whole; of CSV, --column NAME takes one column"
}

// drain reads entries to their end.
func drain(all entries) error {
	for {
		if _, err := all.next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
