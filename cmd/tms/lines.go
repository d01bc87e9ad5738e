package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"strings"

	tms "github.com/manankarani/token-manager"
)

const (
	mostLine      = 64 << 10 // bytes of one line
	standardInput = "standard input"
)

// byteOrderMark is what some programs put at the head of a text.
const byteOrderMark = "\ufeff"

// withoutMark returns the input without a byte order mark at its head.
func withoutMark(in io.Reader) io.Reader {
	buffered := bufio.NewReader(in)
	if head, err := buffered.Peek(len(byteOrderMark)); err == nil && string(head) == byteOrderMark {
		buffered.Discard(len(byteOrderMark))
	}
	return buffered
}

// lines reads an input line by line, without the CR that some systems end a line with.
type lines struct {
	scanner *bufio.Scanner
	number  int   // of the line that was read last
	read    int64 // bytes so far, about
}

func linesOf(in io.Reader) *lines {
	scanner := bufio.NewScanner(withoutMark(in))
	scanner.Buffer(nil, mostLine)
	return &lines{scanner: scanner}
}

// next returns the next line that is not there only for the eye; io.EOF after the last.
func (l *lines) next() (string, error) {
	for l.scanner.Scan() {
		l.number++
		l.read += int64(len(l.scanner.Bytes())) + 1
		if line := strings.TrimSuffix(l.scanner.Text(), "\r"); strings.TrimSpace(line) != "" {
			return line, nil
		}
	}
	switch err := l.scanner.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		l.number++
		return "", tooLong()
	case err != nil:
		return "", err
	}
	return "", io.EOF
}

func tooLong() error { return tms.Invalid("", "is longer than %d bytes", mostLine) }

// otherForm says what a line is that is plainly no token of a file with a token on each line; "": it may be one.
func otherForm(line string, first bool) string {
	text := strings.TrimSpace(line)
	switch {
	case strings.HasPrefix(text, "{"):
		return `begins with { as JSON does; all lines must be objects, or none: {"token": "…"} is one for any token`
	case jsonArray(text):
		return "begins a JSON array; each object needs a line of its own, as jq -c '.[]' writes them"
	case len(text) > 1 && text[0] == '"' && text[len(text)-1] == '"':
		return "stands in quotes, which would be of the token; jq -r writes none, and --column NAME reads CSV"
	case first && (text == "TOKEN" || strings.HasPrefix(text, "TOKEN  ")):
		return "is the header of a table; -o name writes tokens alone, and tms export all of them"
	case first && (strings.HasPrefix(text, "<!") || strings.HasPrefix(text, "<?")):
		return "begins a document of markup"
	}
	return ""
}

// jsonArray reports whether the text begins an array of objects, texts or arrays, or is one.
func jsonArray(text string) bool {
	rest, begins := strings.CutPrefix(text, "[")
	rest = strings.TrimSpace(rest)
	return begins && (rest == "" || strings.ContainsAny(rest[:1], `{["]`) || json.Valid([]byte(text)))
}
