package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
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

// separators are what stands between the cells of a row; which it is, the header shows.
var separators = []rune{',', ';', '\t'}

// columnEntries reads the cells of one column of CSV, whose first row names the columns.
type columnEntries struct {
	name  string
	rules newValue
	in    *bounded
	rows  *csv.Reader // nil: the header has not been read
	index int
	line  int // in which the last row began
}

func columnOf(in io.Reader, name string, rules newValue) *columnEntries {
	return &columnEntries{name: name, rules: rules, in: &bounded{Reader: withoutMark(in)}}
}

func (c *columnEntries) next() (entry, error) {
	if c.rows == nil {
		if err := c.begin(); err != nil {
			return entry{}, err
		}
	}
	for {
		row, err := c.row()
		if err != nil {
			return entry{}, err
		}
		if !slices.ContainsFunc(row, func(cell string) bool { return strings.TrimSpace(cell) != "" }) {
			continue
		}
		line, _ := c.rows.FieldPos(c.index)
		value, err := c.rules.check(c.name, row[c.index])
		if err != nil {
			return entry{}, &badLine{line, err}
		}
		return entry{NewToken: tms.NewToken{Value: value}, line: line, size: len(value), read: c.rows.InputOffset()},
			nil
	}
}

// row returns the next row. One that does not end, because a quote is not closed, ends with an error.
func (c *columnEntries) row() ([]string, error) {
	c.in.left = mostLine
	row, err := c.rows.Read()
	if parse := (*csv.ParseError)(nil); errors.As(err, &parse) {
		return nil, &badLine{parse.StartLine, parse.Err}
	} else if errors.Is(err, bufio.ErrTooLong) {
		return nil, &badLine{c.line + 1, tooLong()}
	} else if err == nil {
		c.line, _ = c.rows.FieldPos(0)
	}
	return row, err
}

// begin reads the header and finds the column in it.
func (c *columnEntries) begin() error {
	buffered := bufio.NewReader(c.in)
	c.in.left = mostLine
	header, err := buffered.ReadString('\n')
	if errors.Is(err, bufio.ErrTooLong) {
		return &badLine{1, tooLong()}
	} else if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	c.rows = csv.NewReader(io.MultiReader(strings.NewReader(header), buffered))
	c.rows.Comma, c.rows.ReuseRecord = separatorOf(header, c.name), true
	names, err := c.row()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	c.index = slices.Index(names, c.name)
	if c.index < 0 || slices.Contains(names[c.index+1:], c.name) {
		return &badLine{1, tms.Invalid("--column", "there must be one column %q; the columns are %q", c.name, names)}
	}
	return nil
}

// separatorOf returns the separator with which the column is in the header.
func separatorOf(header, name string) rune {
	for _, comma := range separators {
		rows := csv.NewReader(strings.NewReader(header))
		rows.Comma = comma
		if names, err := rows.Read(); err == nil && slices.Contains(names, name) {
			return comma
		}
	}
	return separators[0]
}

// bounded is a reader that has so many bytes left, and what its readers read ahead.
type bounded struct {
	io.Reader
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, bufio.ErrTooLong
	}
	n, err := b.Reader.Read(p)
	b.left -= n
	return n, err
}
