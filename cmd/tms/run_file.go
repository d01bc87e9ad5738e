package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// jobFile is a file with the variables that a job finds.
type jobFile struct {
	path string
	own  os.FileInfo
	pin  *os.File // keeps the system from giving its number to another file; nil, nothing does
}

const temporaryFile = ".tms-run-*"

// checkFile refuses what cannot become such a file, before a token is taken for it.
func checkFile(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return fmt.Errorf("--file: %s is a directory", path)
	}
	file, err := os.CreateTemp(filepath.Dir(path), temporaryFile)
	if err != nil {
		return fmt.Errorf("--file: %w", err)
	}
	file.Close()
	os.Remove(file.Name())
	return nil
}

// writeJobFile puts a file that nobody else can read in the place of whatever is there.
func writeJobFile(path string, v []variable) (*jobFile, error) {
	f, err := replace(path, []byte(assignments(v)))
	if err != nil {
		return nil, fmt.Errorf("--file: %w", err)
	}
	return f, nil
}

func replace(path string, content []byte) (*jobFile, error) {
	file, err := os.CreateTemp(filepath.Dir(path), temporaryFile) // mode 0600
	if err != nil {
		return nil, err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(content)
	own, statErr := file.Stat()
	if err = cmp.Or(err, statErr, file.Close()); err != nil {
		return nil, err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return nil, err
	}
	pin, _ := os.Open(path)
	return &jobFile{path, own, pin}, nil
}

// remove removes the file, but not what has taken its place meanwhile.
func (f *jobFile) remove() {
	now, err := os.Lstat(f.path)
	f.pin.Close()
	if err == nil && os.SameFile(now, f.own) {
		os.Remove(f.path)
	}
}

// assignments returns the variables as a shell reads them.
func assignments(v []variable) string {
	var text strings.Builder
	for _, one := range v {
		fmt.Fprintf(&text, "%s=%s\n", one.name, quoted(one.text()))
	}
	return text.String()
}

var needsNoQuotes = regexp.MustCompile(`^[\w@%+=:,./-]+$`)

// quoted returns a word that a shell reads as the value.
func quoted(value string) string {
	if needsNoQuotes.MatchString(value) {
		return value
	}
	return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}
