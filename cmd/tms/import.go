package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

const (
	mostBatch   = api.MaxBodyBytes / 3 // bytes of the lines of one batch: as JSON a text can be twice as long
	mostChecked = 8 << 20              // bytes of a pipe that are read before anything is imported
)

func newImport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import [FILE]",
		Short: "Put the tokens of a file into a pool",
		Long: fmt.Sprintf("Put the tokens of a file, or of standard input, into a pool. Each line is a token, "+
			"or, if the "+
			"first\n"+
			"begins with {, each is an object such as {\"token\": \"KEY-1\", \"metadata\": {\"seat\": "+
			"\"Oslo\"}}, as tms "+
			"export\n"+
			"writes them; with --column they are the cells of a column of CSV. A file is read to its end before "+
			"anything\n"+
			"of it is imported, of a pipe the first %d MiB. They go in batches of up to %d, each all or none.\n"+
			"Tokens that the pool has already are counted and left as they are, so that an import can be repeated;\n"+
			"with --update they get the metadata that the input has for them.\n"+
			"Tokens that were put aside, whose \"state\" is \"quarantined\", are counted and passed over.",
			mostChecked>>20, tms.MaxBatch),
		Args: cobra.MaximumNArgs(1),
	}
	in := &importing{most: tms.MaxBatch}
	cmd.Flags().StringVar(&in.column, "column", "", "`name` of the column to take, of CSV whose first row names them")
	addTrim(cmd, &in.rules)
	addUpdate(cmd, &in.update)
	cmd.Flags().BoolVar(&in.quarantined, "quarantined", false,
		"import quarantined tokens as well; they become available")
	return asksPool(cmd, []string{formTable, formJSON}, func(r *remote, args []string) error {
		in.remote = r
		if len(args) == 0 || args[0] == "-" {
			in.open(standardInput, r.InOrStdin())
			return in.run()
		}
		file, err := os.Open(args[0])
		if err != nil {
			return usage("%v", err)
		}
		defer file.Close()
		in.open(file.Name(), file)
		return in.run()
	})
}

func addTrim(cmd *cobra.Command, rules *newValue) {
	cmd.Flags().BoolVar(&rules.trim, "trim", false, "cut blanks at the ends of tokens, instead of refusing them")
}

// importing is one import on its way.
type importing struct {
	*remote
	column      string // of CSV; empty: it is none
	rules       newValue
	quarantined bool // these, too
	update      bool // the metadata of those that exist
	name        string
	in          io.Reader
	size        int64 // bytes of the input, which can then be read twice; zero: unknown
	most        int   // tokens in one request

	batch  []tms.NewToken
	lines  []int // of the batch's tokens
	bytes  int
	failed error // of the reader, once there are no more entries

	made     imported
	warnings []string // of the last batch; all have the same
}

func (i *importing) open(name string, in io.Reader) {
	i.name, i.in = name, in
	if file, ok := in.(*os.File); ok {
		if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
			i.size = info.Size()
		}
	}
}

// imported is the answer of an import.
type imported struct {
	Pool       string `json:"pool"`
	Created    int    `json:"created"`
	Existing   int    `json:"existing"`
	Differing  int    `json:"differing,omitzero"` // of the existing, in their metadata
	PassedOver int    `json:"passed_over"`        // because they were quarantined
	updated    bool
}

func (m imported) String() string {
	text := generated(m.Pool, tms.Generated{Created: m.Created, Existing: m.Existing, Differing: m.Differing},
		m.updated)
	if m.PassedOver > 0 {
		text += fmt.Sprintf(", %d quarantined passed over, which --quarantined takes", m.PassedOver)
	}
	return text
}

func (m imported) table() table {
	row := []string{
		m.Pool, fmt.Sprint(m.Created), fmt.Sprint(m.Existing), number(int64(m.Differing)), number(int64(m.PassedOver)),
	}
	return table{[]string{"POOL", "CREATED", "EXISTING", "DIFFERING", "PASSED OVER"}, [][]string{row}}
}

func (i *importing) run() error {
	i.made.Pool, i.made.updated = i.pool, i.update
	ctx, stop := interruptible(i.Context())
	defer stop()
	progress := i.progress("import")
	err := i.takeAll(ctx, progress)
	progress.end()
	if err != nil {
		return interrupted(ctx, i.so(err))
	}
	i.say("%v", i.made)
	i.warn(i.warnings)
	return i.write(i.made, i.made.table(), nil)
}

// so returns the error with what was done before it.
func (i *importing) so(err error) error {
	var bad *badLine
	switch before := i.made.Created+i.made.Existing > 0; {
	case errors.As(err, &bad) && !before:
		return &ended{exitUsage, fmt.Errorf("%w; nothing was imported", err)}
	case errors.As(err, &bad):
		return &ended{exitFailure, fmt.Errorf("%w; nothing of its batch was imported; before that, %v", err, i.made)}
	case before:
		err = halfway(err)
	}
	return fmt.Errorf("%w; before that, %v", err, i.made)
}

func (i *importing) takeAll(ctx context.Context, progress *progress) error {
	late, stop := outlasting(ctx)
	defer stop()
	all := i.readAll(ctx)
	for {
		var e entry
		var more bool
		select {
		case <-ctx.Done():
		case e, more = <-all:
		}
		if ctx.Err() != nil { // which ends the reading, so that no more entries are not the end of the input
			return fmt.Errorf("import %s: %w", i.name, context.Cause(ctx))
		}
		if !more {
			return i.last(late)
		}
		if err := i.take(late, e); err != nil {
			return err
		}
		progress.show(e.read, i.size, fmt.Sprintf("bytes, %d tokens", i.made.Created+i.made.Existing))
	}
}

// last sends what is left when all has been read, or says what could not be.
func (i *importing) last(ctx context.Context) error {
	var bad *badLine
	switch {
	case errors.As(i.failed, &bad):
		return fmt.Errorf("%s:%w", i.name, i.failed)
	case i.failed != nil:
		return fmt.Errorf("%s: %w", i.name, i.failed)
	}
	return i.send(ctx)
}

// readAll returns the entries, which are read beside, because nothing else could end a read of an input that is silent.
func (i *importing) readAll(ctx context.Context) <-chan entry {
	all := make(chan entry, 1000)
	go func() {
		defer close(all)
		in, err := i.checked()
		if err == nil {
			err = feed(ctx, i.entries(in), all)
		}
		if !errors.Is(err, io.EOF) {
			i.failed = err
		}
	}()
	return all
}

func feed(ctx context.Context, from entries, to chan<- entry) error {
	for {
		e, err := from.next()
		if err != nil {
			return err
		}
		select {
		case to <- e:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (i *importing) entries(in io.Reader) entries {
	if i.column != "" {
		return columnOf(in, i.column, i.rules)
	}
	return &textEntries{lines: linesOf(in), rules: i.rules}
}

// checked reads the input as far as can be before anything of it is imported, and returns it from its beginning, or
// says what is wrong in it.
func (i *importing) checked() (io.Reader, error) {
	if file, ok := i.in.(io.ReadSeeker); ok && i.size > 0 {
		begin, err := file.Seek(0, io.SeekCurrent)
		if err == nil {
			err = i.check(file)
		}
		if err == nil {
			_, err = file.Seek(begin, io.SeekStart)
		}
		return file, err
	}
	head, err := io.ReadAll(io.LimitReader(i.in, mostChecked))
	if err != nil {
		return nil, err
	}
	part := head
	if len(head) == mostChecked {
		part = head[:bytes.LastIndexByte(head, '\n')+1]
	}
	if err = i.check(bytes.NewReader(part)); errors.Is(err, csv.ErrQuote) && len(part) < len(head) {
		err = nil // the quotes may be closed in what comes
	}
	return io.MultiReader(bytes.NewReader(head), i.in), err
}

func (i *importing) check(in io.Reader) error {
	all := i.entries(in)
	err := drain(all)
	if text, ok := all.(*textEntries); ok && err == nil && text.warning() != "" {
		i.say("warning: %s: %s", i.name, text.warning())
	}
	return err
}

// take adds an entry to the batch, and sends the batch when it is full. It passes over quarantined tokens.
func (i *importing) take(ctx context.Context, e entry) (err error) {
	if e.state == tms.Quarantined && !i.quarantined {
		i.made.PassedOver++
		return nil
	}
	if len(i.batch) == tms.MaxBatch || i.bytes+e.size > mostBatch {
		err = i.send(ctx)
	}
	i.batch, i.lines = append(i.batch, e.NewToken), append(i.lines, e.line)
	i.bytes += e.size
	return err
}

// send imports the batch, in parts where the server, or a proxy before it, takes no body of that size.
func (i *importing) send(ctx context.Context) error {
	for len(i.batch) > 0 {
		n := min(len(i.batch), i.most)
		request := tms.GenerateRequest{Tokens: i.batch[:n], Update: i.update}
		made, err := i.Generate(ctx, i.pool, request)
		if n > 1 && errors.Is(err, tms.ErrBodyTooLarge) {
			i.most = n / 2
			continue
		}
		if err != nil {
			return i.refused(err, i.lines[:n])
		}
		i.made.Created += made.Created
		i.made.Existing += made.Existing
		i.made.Differing += made.Differing
		i.warnings = request.Warnings(made)
		i.batch, i.lines = i.batch[n:], i.lines[n:]
	}
	i.batch, i.lines, i.bytes = nil, nil, 0
	return nil
}

// refused says which lines the refusal is about.
func (i *importing) refused(err error, lines []int) error {
	var refusal *tms.Refusal
	var n int
	if errors.As(err, &refusal) {
		if _, scanErr := fmt.Sscanf(refusal.Field, "tokens[%d]", &n); scanErr == nil && n < len(lines) {
			return fmt.Errorf("%s:%w", i.name, &badLine{lines[n], err})
		}
	}
	return i.tried(err, "import %s:%d-%d into the pool %q", i.name, lines[0], lines[len(lines)-1], i.pool)
}
