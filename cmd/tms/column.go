package main

import (
	"bufio"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strings"

	tms "github.com/manankarani/token-manager"
)

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
		return entry{NewToken: tms.NewToken{Value: value}, line: line, size: len(value), read: c.rows.InputOffset()}, nil
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
