package main

import (
	"fmt"
	"os"
)

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
