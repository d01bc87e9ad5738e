package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/mattn/go-runewidth"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

// The forms of data on standard output.
const (
	formTable = "table" // for people
	formJSON  = "json"  // what the server answered, as one document
	formName  = "name"  // the names alone, each on a line
)

var everyForm = []string{formTable, formJSON, formName}

func (r *remote) addOutput(forms []string) {
	if len(forms) == 0 {
		return
	}
	r.Flags().StringVarP(&r.output, "output", "o", forms[0], "`form` of the data: "+strings.Join(forms, " or "))
	r.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(forms, cobra.ShellCompDirectiveNoFileComp))
}

// table is data for people.
type table struct {
	header []string
	rows   [][]string
}

// write writes data in the form that was asked for.
func (r *remote) write(document any, t table, names []string) error {
	out := r.OutOrStdout()
	switch r.output {
	case formJSON:
		return writeJSON(out, document)
	case formName:
		return writeLines(out, names)
	}
	return t.write(out)
}

func writeJSON(out io.Writer, document any) error {
	var text bytes.Buffer
	if err := api.Encode(&text, document); err != nil {
		return err
	}
	text.WriteByte('\n')
	_, err := text.WriteTo(out)
	return err
}

func writeLines(out io.Writer, lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	_, err := io.WriteString(out, strings.Join(lines, "\n")+"\n")
	return err
}

// write writes the table without the columns that are empty in every row.
func (t table) write(out io.Writer) error {
	used := t.used()
	widths := t.widths()
	header := bold
	for _, row := range append([][]string{t.header}, t.rows...) {
		var line strings.Builder
		for i, cell := range row {
			if used[i] {
				line.WriteString(cell + strings.Repeat(" ", widths[i]-runewidth.StringWidth(cell)+2))
			}
		}
		if _, err := fmt.Fprintln(out, header(out, strings.TrimRight(line.String(), " "))); err != nil {
			return err
		}
		header = plain
	}
	return nil
}

// widths returns how many columns of a terminal the widest cell of each column takes.
func (t table) widths() []int {
	widths := make([]int, len(t.header))
	for _, row := range append([][]string{t.header}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], runewidth.StringWidth(cell))
		}
	}
	return widths
}

// used says which columns hold anything. The first does, in any case.
func (t table) used() []bool {
	used := make([]bool, len(t.header))
	used[0] = true
	for _, row := range t.rows {
		for i, cell := range row {
			used[i] = used[i] || cell != ""
		}
	}
	return used
}

// bold makes a text stand out on a terminal that can, for those who do not mind: see https://no-color.org.
func bold(out io.Writer, text string) string {
	if os.Getenv("NO_COLOR") != "" || !smart(out) {
		return text
	}
	return "\x1b[1m" + text + "\x1b[m"
}

func plain(_ io.Writer, text string) string { return text }

// smart reports whether the output is a terminal that can move its cursor.
func smart(out io.Writer) bool { return isTerminal(out) && os.Getenv("TERM") != "dumb" }

func isTerminal(stream any) bool {
	file, ok := stream.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(file.Fd()))
}

var tokenHeader = []string{
	"TOKEN", "STATE", "LEASE ID", "FENCE", "CLIENT", "SINCE", "LEASE ENDS", "READY", "TOKEN ENDS", "METADATA",
}

func (r *remote) tokenTable(tokens []api.Token) table {
	t := table{header: tokenHeader}
	for _, token := range tokens {
		t.rows = append(t.rows, r.tokenRow(token))
	}
	return t
}

func (r *remote) tokenRow(t api.Token) []string {
	state := string(t.State)
	if t.Deleted {
		state = "deleted"
	}
	who := tms.OwnerText(tms.Owned(t.Holder, t.ClientID))
	return []string{
		t.Token, state, t.LeaseID, number(t.Fence), who, r.instant(t.AssignedAt), r.instant(t.LeaseExpiresAt),
		r.instant(t.ReadyAt), r.instant(t.ExpiresAt), pairs(t.Metadata),
	}
}

func tokenNames(tokens []api.Token) []string {
	names := make([]string, len(tokens))
	for i, t := range tokens {
		names[i] = t.Token
	}
	return names
}

// instant writes an instant: for a person at a terminal how long ago it was, by this machine's clock, otherwise in UTC.
func (r *remote) instant(t api.Time) string {
	switch {
	case t.IsZero():
		return ""
	case isTerminal(r.OutOrStdout()):
		return ago(time.Since(t.Time))
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

func number(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// pairs writes metadata as key=value, in order.
func pairs(metadata map[string]string) string {
	var all []string
	for key, value := range metadata {
		all = append(all, unmistakable(key)+"="+unmistakable(value))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// unmistakable puts a text in quotes if it holds what a terminal would obey, or a reader take for the end of it.
func unmistakable(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' || r == '"' }) {
		return strconv.Quote(text)
	}
	return text
}
