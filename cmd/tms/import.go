package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

const (
	mostLine  = 64 << 10             // bytes of one line
	mostBatch = api.MaxBodyBytes / 3 // bytes of the lines of one batch: as JSON a text can be twice as long
)

func newImport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import [FILE]",
		Short: "Put the tokens of a file into a pool",
		Long: fmt.Sprintf("Put the tokens of a file, or of standard input, into a pool. Each line is a token, or, if the first\n"+
			"begins with {, each is an object such as {\"token\": \"KEY-1\", \"metadata\": {\"seat\": \"Oslo\"}}, as tms export\n"+
			"writes them. They go in batches of up to %d, each all or none. Tokens that the pool has already are counted\n"+
			"and left as they are, so that an import can be repeated. Tokens that were put aside, whose \"state\" is\n"+
			"\"quarantined\", are counted and passed over.", tms.MaxBatch),
		Args: cobra.MaximumNArgs(1),
	}
	var quarantined bool
	cmd.Flags().BoolVar(&quarantined, "quarantined", false, "import quarantined tokens as well; they become available")
	return asksPool(cmd, []string{formTable, formJSON}, func(r *remote, args []string) error {
		in := &importing{remote: r, quarantined: quarantined, name: "standard input", in: r.InOrStdin(), most: tms.MaxBatch}
		if len(args) > 0 && args[0] != "-" {
			file, err := os.Open(args[0])
			if err != nil {
				return usage("%v", err)
			}
			defer file.Close()
			in.open(file)
		}
		return in.run()
	})
}

// importing is one import on its way.
type importing struct {
	*remote
	quarantined bool // these, too
	name        string
	in          io.Reader
	size        int64 // bytes of the file; zero: unknown
	most        int   // tokens in one request

	line   int   // of the file, that was taken last
	read   int64 // bytes so far
	form   byte  // of the first line: its first character
	batch  []tms.NewToken
	lines  []int // of the batch's tokens
	bytes  int
	failed error // of the reader, once there are no more lines

	made imported
}

func (i *importing) open(file *os.File) {
	i.name, i.in = file.Name(), file
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
		i.size = info.Size()
	}
}

// imported is the answer of an import.
type imported struct {
	Pool       string `json:"pool"`
	Created    int    `json:"created"`
	Existing   int    `json:"existing"`
	PassedOver int    `json:"passed_over"` // because they were quarantined
}

func (m imported) String() string {
	text := generated(m.Pool, m.Created, m.Existing)
	if m.PassedOver > 0 {
		text += fmt.Sprintf(", %d quarantined passed over, which --quarantined takes", m.PassedOver)
	}
	return text
}

func (m imported) table() table {
	row := []string{m.Pool, fmt.Sprint(m.Created), fmt.Sprint(m.Existing), number(int64(m.PassedOver))}
	return table{[]string{"POOL", "CREATED", "EXISTING", "PASSED OVER"}, [][]string{row}}
}

func (i *importing) run() error {
	i.made.Pool = i.pool
	ctx, stop := interruptible(i.Context())
	defer stop()
	progress := i.progress("import")
	err := i.takeAll(ctx, progress)
	progress.end()
	if err != nil {
		if i.made.Created+i.made.Existing > 0 {
			err = halfway(err)
		}
		return interrupted(ctx, fmt.Errorf("%w; before that, %v", err, i.made))
	}
	i.say("%v", i.made)
	return i.write(i.made, i.made.table(), nil)
}

func (i *importing) takeAll(ctx context.Context, progress *progress) error {
	late, stop := outlasting(ctx)
	defer stop()
	lines := i.readAll(ctx)
	for {
		line, more := "", false
		select {
		case <-ctx.Done():
		case line, more = <-lines:
		}
		if ctx.Err() != nil { // which ends the reading, so that no more lines are not the end of the input
			return fmt.Errorf("import %s: %w", i.name, context.Cause(ctx))
		}
		if !more {
			return i.last(late)
		}
		if err := i.take(late, line); err != nil {
			return err
		}
		progress.show(i.read, i.size, fmt.Sprintf("bytes, %d tokens", i.made.Created+i.made.Existing))
	}
}

// readAll returns the lines, which are read beside, because nothing else could end a read of an input that is silent.
func (i *importing) readAll(ctx context.Context) <-chan string {
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		scanner := bufio.NewScanner(i.in)
		scanner.Buffer(nil, mostLine)
		for scanner.Scan() {
			select {
			case lines <- scanner.Text():
			case <-ctx.Done():
				return
			}
		}
		i.failed = scanner.Err()
	}()
	return lines
}

// last sends what is left when all has been read, or says which line could not be.
func (i *importing) last(ctx context.Context) error {
	if errors.Is(i.failed, bufio.ErrTooLong) {
		return i.bad(i.line+1, fmt.Errorf("the line is longer than %d bytes", mostLine))
	} else if i.failed != nil {
		return fmt.Errorf("%s: %w", i.name, i.failed)
	}
	return i.send(ctx)
}

// take adds the token of a line to the batch, and sends the batch when it is full. It passes over empty lines, and over
// quarantined tokens.
func (i *importing) take(ctx context.Context, line string) error {
	i.line++
	i.read += int64(len(line)) + 1
	line = strings.TrimSuffix(line, "\r")
	if blank(line) {
		return nil
	}
	token, state, err := i.parse(line)
	switch {
	case err != nil:
		return i.bad(i.line, err)
	case state == tms.Quarantined && !i.quarantined:
		i.made.PassedOver++
		return nil
	case len(i.batch) == tms.MaxBatch || i.bytes+len(line) > mostBatch:
		err = i.send(ctx)
	}
	i.batch, i.lines = append(i.batch, token), append(i.lines, i.line)
	i.bytes += len(line)
	return err
}

// importLine is a line of a file of objects. Its state is one of another time, and says only what is broken.
type importLine struct {
	Token    string            `json:"token"`
	Metadata map[string]string `json:"metadata"`
	State    tms.State         `json:"state"`
}

func (i *importing) parse(line string) (tms.NewToken, tms.State, error) {
	if i.form == 0 {
		i.form = line[0]
	}
	if i.form != '{' {
		return tms.NewToken{Value: line}, "", tms.ValidateToken("token", line)
	}
	var object importLine
	if err := api.Decode([]byte(line), &object); err != nil {
		return tms.NewToken{}, "", err
	}
	err := errors.Join(tms.ValidateToken("token", object.Token), tms.ValidateMetadata("metadata", object.Metadata))
	return tms.NewToken{Value: object.Token, Metadata: object.Metadata}, object.State, err
}

// bad says where a bad line stands.
func (i *importing) bad(line int, err error) error {
	return &ended{exitUsage, fmt.Errorf("%s:%d: %w; nothing of its batch was imported", i.name, line, err)}
}

// send imports the batch, in parts where the server, or a proxy before it, takes no body of that size.
func (i *importing) send(ctx context.Context) error {
	for len(i.batch) > 0 {
		n := min(len(i.batch), i.most)
		made, err := i.Generate(ctx, i.pool, tms.GenerateRequest{Tokens: i.batch[:n]})
		if n > 1 && errors.Is(err, tms.ErrBodyTooLarge) {
			i.most = n / 2
			continue
		}
		if err != nil {
			return i.refused(err, i.lines[:n])
		}
		i.made.Created += made.Created
		i.made.Existing += made.Existing
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
			return i.bad(lines[n], err)
		}
	}
	return i.tried(err, "import %s:%d-%d into the pool %q", i.name, lines[0], lines[len(lines)-1], i.pool)
}
