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
			"and left as they are, so that an import can be repeated.", tms.MaxBatch),
		Args: cobra.MaximumNArgs(1),
	}
	return asksPool(cmd, []string{formTable, formJSON}, func(r *remote, args []string) error {
		in := &importing{remote: r, name: "standard input", in: r.InOrStdin()}
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
	name string
	in   io.Reader
	size int64 // bytes of the file; zero: unknown

	line   int   // of the file, that was read last
	read   int64 // bytes so far
	object bool  // the lines are objects
	batch  []tms.NewToken
	first  int // line of the batch's first token
	lines  []int
	bytes  int

	made tms.Generated
}

func (i *importing) open(file *os.File) {
	i.name, i.in = file.Name(), file
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
		i.size = info.Size()
	}
}

// imported is the answer of an import.
type imported struct {
	Pool     string `json:"pool"`
	Created  int    `json:"created"`
	Existing int    `json:"existing"`
}

func (i *importing) run() error {
	ctx, stop := interruptible(i.Context())
	defer stop()
	progress := i.progress("import")
	err := i.readAll(ctx, progress)
	progress.end()
	done := generated(i.pool, i.made.Created, i.made.Existing)
	if err != nil {
		return fmt.Errorf("%w; before that, %s", err, done)
	}
	i.say("%s", done)
	answer := imported{i.pool, i.made.Created, i.made.Existing}
	row := []string{i.pool, fmt.Sprint(i.made.Created), fmt.Sprint(i.made.Existing)}
	return i.write(answer, table{[]string{"POOL", "CREATED", "EXISTING"}, [][]string{row}}, nil)
}

func (i *importing) readAll(ctx context.Context, progress *progress) error {
	lines := bufio.NewScanner(i.in)
	lines.Buffer(nil, mostLine)
	for lines.Scan() {
		i.line++
		i.read += int64(len(lines.Bytes())) + 1
		if err := i.take(ctx, strings.TrimSuffix(lines.Text(), "\r")); err != nil {
			return err
		}
		progress.show(i.read, i.size, fmt.Sprintf("bytes, %d tokens", len(i.made.Tokens)))
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return i.bad(i.line+1, fmt.Errorf("the line is longer than %d bytes", mostLine))
	} else if err != nil {
		return fmt.Errorf("%s: %w", i.name, err)
	}
	return i.send(ctx)
}

// take adds the token of a line to the batch, and sends the batch when it is full. It passes over empty lines.
func (i *importing) take(ctx context.Context, line string) error {
	if blank(line) {
		return nil
	}
	if len(i.lines) == 0 && len(i.made.Tokens) == 0 {
		i.object = line[0] == '{'
	}
	token, err := i.parse(line)
	if err != nil {
		return i.bad(i.line, err)
	}
	if len(i.batch) == tms.MaxBatch || i.bytes+len(line) > mostBatch {
		if err := i.send(ctx); err != nil {
			return err
		}
	}
	i.batch, i.lines = append(i.batch, token), append(i.lines, i.line)
	i.bytes += len(line)
	return nil
}

// importLine is a line of a file of objects. Its state is one of another time, and says nothing here.
type importLine struct {
	Token    string            `json:"token"`
	Metadata map[string]string `json:"metadata"`
	State    tms.State         `json:"state"`
}

func (i *importing) parse(line string) (tms.NewToken, error) {
	if !i.object {
		return tms.NewToken{Value: line}, tms.ValidateToken("token", line)
	}
	var object importLine
	if err := api.Decode([]byte(line), &object); err != nil {
		return tms.NewToken{}, err
	}
	err := errors.Join(tms.ValidateToken("token", object.Token), tms.ValidateMetadata("metadata", object.Metadata))
	return tms.NewToken{Value: object.Token, Metadata: object.Metadata}, err
}

// bad says where a bad line stands.
func (i *importing) bad(line int, err error) error {
	return usage("%s:%d: %v; nothing of its batch was imported", i.name, line, err)
}

func (i *importing) send(ctx context.Context) error {
	if len(i.batch) == 0 {
		return nil
	}
	made, err := i.Generate(ctx, i.pool, tms.GenerateRequest{Tokens: i.batch})
	if err != nil {
		return i.refused(err)
	}
	made.Tokens = append(i.made.Tokens, made.Tokens...)
	i.made = sum(tms.Generated{Created: i.made.Created, Existing: i.made.Existing}, made)
	i.batch, i.lines, i.bytes = nil, nil, 0
	return nil
}

// refused says which lines the refusal is about.
func (i *importing) refused(err error) error {
	var refusal *tms.Refusal
	var n int
	if errors.As(err, &refusal) {
		if _, scanErr := fmt.Sscanf(refusal.Field, "tokens[%d]", &n); scanErr == nil && n < len(i.lines) {
			return i.bad(i.lines[n], err)
		}
	}
	return i.tried(err, "import %s:%d-%d into the pool %q", i.name, i.lines[0], i.lines[len(i.lines)-1], i.pool)
}
