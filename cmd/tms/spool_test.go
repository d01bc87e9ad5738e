package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
)

// reader is a reader of a spool who reads when a test says so.
type reader struct {
	read chan struct{}
	got  strings.Builder
	err  error
}

func (r *reader) Write(p []byte) (int, error) {
	<-r.read
	if r.err != nil {
		return 0, r.err
	}
	return r.got.Write(p)
}

func tellDropped(out io.Writer, lines int64) error {
	_, err := fmt.Fprintf(out, "%d lines are missing\n", lines)
	return err
}

// A reader that stops reading holds up nobody. It gets what was kept, and how much was not.
func TestASpoolDropsAndCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reader{read: make(chan struct{}, 10)}
		s := newSpool(r, 20, tellDropped)
		fmt.Fprint(s, "first\n")
		synctest.Wait() // it is being written, and nobody reads
		for range 5 {
			fmt.Fprint(s, "eight...\n")
		}
		if n := s.dropped.Load(); n != 3 {
			t.Errorf("%d lines were dropped, want 3", n)
		}
		close(r.read)
		synctest.Wait()
		fmt.Fprint(s, "last\n")
		s.end()
		if want := "first\neight...\neight...\n3 lines are missing\nlast\n"; r.got.String() != want {
			t.Errorf("it read %q, want %q", r.got.String(), want)
		}
	})
}

// What cannot be written is dropped and counted as well, and the end does not wait for a reader who does not read.
func TestASpoolWithoutAReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reader{read: make(chan struct{}), err: errors.New("broken pipe")}
		s := newSpool(r, 100, tellDropped)
		fmt.Fprint(s, "one\ntwo\n")
		s.end() // after a while
		close(r.read)
		synctest.Wait()
		if n := s.dropped.Load(); n != 2 {
			t.Errorf("%d lines were dropped, want 2", n)
		}
	})
}
