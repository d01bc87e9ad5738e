package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const lastWords = 500 * time.Millisecond // for what was said last to be written

// spool is a writer that holds nobody up: it writes from a goroutine of its own, however slowly that is read. What is
// more than it may keep in mind, and what cannot be written, is dropped and counted.
type spool struct {
	out  io.Writer
	most int                                    // bytes that nobody has read yet
	tell func(out io.Writer, lines int64) error // says how many lines were dropped; nil: that is not said

	mu      sync.Mutex
	kept    []byte
	untold  int64 // lines that were dropped, since that was said
	dropped atomic.Int64

	some chan struct{} // holds an entry when there is something to do
	quit chan struct{}
	done chan struct{}
}

func newSpool(out io.Writer, most int, tell func(io.Writer, int64) error) *spool {
	s := &spool{out: out, most: most, tell: tell}
	s.some, s.quit, s.done = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	go s.run()
	return s
}

// Write keeps the whole lines of p, or drops them. It never fails.
func (s *spool) Write(p []byte) (int, error) {
	s.mu.Lock()
	if len(s.kept)+len(p) > s.most {
		s.drop(p)
	} else {
		s.kept = append(s.kept, p...)
	}
	s.mu.Unlock()
	select {
	case s.some <- struct{}{}:
	default:
	}
	return len(p), nil
}

// drop counts lines that nobody will read. The lock must be held.
func (s *spool) drop(lines []byte) {
	n := int64(bytes.Count(lines, []byte("\n")))
	s.untold += n
	s.dropped.Add(n)
}

func (s *spool) run() {
	defer close(s.done)
	for {
		select {
		case <-s.some:
			s.write()
		case <-s.quit:
			s.write()
			return
		}
	}
}

// write writes what is there, and then how many lines are missing behind it.
func (s *spool) write() {
	s.mu.Lock()
	lines, untold := s.kept, s.untold
	s.kept, s.untold = nil, 0
	s.mu.Unlock()
	_, err := s.out.Write(lines)
	if err == nil && untold > 0 && s.tell != nil {
		err = s.tell(s.out, untold)
		lines = nil
	}
	if err == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(lines)
	s.untold += untold
}

// end waits a moment until all is written.
func (s *spool) end() {
	close(s.quit)
	select {
	case <-s.done:
	case <-time.After(lastWords):
	}
}

// stdout is the standard output. It remembers that something could not be written, so that no command ends as if it had
// said what nobody can have read, whether or not it looks at what its writes return.
type stdout struct {
	file *os.File
	err  error
}

func (s *stdout) Write(p []byte) (int, error) {
	n, err := s.file.Write(p)
	if err != nil && s.err == nil {
		s.err = err
	}
	return n, err
}

// Fd is how a terminal is known.
func (s *stdout) Fd() uintptr { return s.file.Fd() }

// unsaid returns the error of a command that ended with err: if it succeeded, but not in saying so, that.
func (s *stdout) unsaid(err error) error {
	if err != nil || s.err == nil {
		return err
	}
	return &ended{exitFailure, fmt.Errorf("standard output: %w", s.err)}
}
