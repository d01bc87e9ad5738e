package audit

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Options says how a Log is kept. The zero value works.
type Options struct {
	Most   int           // bytes that may wait to be written; zero: 1 MiB
	Within time.Duration // longest time that [Log.Put] waits; zero: two seconds
	Logger *slog.Logger  // nil: no logs

	create func() (io.WriteCloser, error) // nil: the file is opened
}

// Log is a file of lines, to which many write at once: what has come while a write was under way goes out with the
// next. It is made with [Open].
type Log struct {
	Options
	out  io.WriteCloser
	torn bool // what was written last ended in the middle of a line

	mu      sync.Mutex
	kept    []byte // lines that are to be written
	waits   *written
	dropped atomic.Int64
	failing bool // the last write has failed

	some   chan struct{} // holds an entry when there is something to do
	reopen atomic.Bool
	quit   chan struct{}
	done   chan struct{}
}

// written is the end of a write that is to come.
type written struct {
	done chan struct{}
	err  error
}

// Stdout is the path of the standard output.
const Stdout = ""

// Open opens the file, which is made if there is none, for its owner alone, and is written to at its end. An
// empty path is the standard output.
func Open(path string, o Options) (*Log, error) {
	if o.Most == 0 {
		o.Most = 1 << 20
	}
	if o.Within == 0 {
		o.Within = 2 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.create == nil {
		o.create = func() (io.WriteCloser, error) { return create(path) }
	}
	out, err := o.create()
	if err != nil {
		return nil, err
	}
	l := &Log{Options: o, out: out, waits: newWritten(), some: make(chan struct{}, 1)}
	l.quit, l.done = make(chan struct{}), make(chan struct{})
	go l.run()
	return l, nil
}

func newWritten() *written { return &written{done: make(chan struct{})} }

func create(path string) (io.WriteCloser, error) {
	if path == Stdout {
		return struct {
			io.Writer
			io.Closer
		}{os.Stdout, io.NopCloser(nil)}, nil
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
}

// Add has a line written, which ends with a line feed, and does not wait for that. It drops the line where too much
// waits already.
func (l *Log) Add(line []byte) {
	if _, err := l.keep(line); err != nil {
		l.dropped.Add(1)
	}
}

var errFull = errors.New("too many lines wait to be written")

// Put has a line written, and returns when it was. An error says that it was not, or that nobody knows.
func (l *Log) Put(ctx context.Context, line []byte) error {
	end, err := l.keep(line)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, l.Within)
	defer cancel()
	select {
	case <-end.done:
		return end.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *Log) keep(line []byte) (*written, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.kept)+len(line) > l.Most {
		return nil, errFull
	}
	l.kept = append(l.kept, line...)
	l.wake()
	return l.waits, nil
}

func (l *Log) wake() {
	select {
	case l.some <- struct{}{}:
	default:
	}
}

// Reopen has the next line written to a file that is opened anew, as after the file was renamed. Where that fails, the
// old one goes on.
func (l *Log) Reopen() {
	l.reopen.Store(true)
	l.wake()
}

// Dropped returns how many lines were dropped.
func (l *Log) Dropped() int64 { return l.dropped.Load() }

// Close writes what waits, and closes the file. Where that takes longer than a Put may, it gives up and says so.
// Nothing may be added after it.
func (l *Log) Close() error {
	close(l.quit)
	select {
	case <-l.done:
		return l.out.Close()
	case <-time.After(l.Within):
		return errors.New("the audit could not be written to its end in time")
	}
}

func (l *Log) run() {
	defer close(l.done)
	for {
		select {
		case <-l.some:
			l.write()
		case <-l.quit:
			l.write()
			return
		}
	}
}

// write writes what is there, in one write.
func (l *Log) write() {
	if l.reopen.Swap(false) {
		l.openAnew()
	}
	l.mu.Lock()
	lines, waits := l.kept, l.waits
	l.kept, l.waits = nil, newWritten()
	l.mu.Unlock()
	if len(lines) == 0 {
		return
	}
	waits.err = l.writeOut(lines)
	close(waits.done)
}

// writeOut writes lines, the first of them on a line of its own.
func (l *Log) writeOut(lines []byte) error {
	out := lines
	if l.torn {
		out = append([]byte{'\n'}, lines...)
	}
	n, err := l.out.Write(out)
	if n > 0 {
		l.torn = out[n-1] != '\n'
	}
	if err != nil {
		l.dropped.Add(int64(countLines(out[n:])))
	}
	l.tell(err)
	return err
}

func countLines(text []byte) (lines int) {
	for _, b := range text {
		if b == '\n' {
			lines++
		}
	}
	return lines
}

// tell logs when writing begins to fail, and when it goes on.
func (l *Log) tell(err error) {
	switch {
	case err != nil && !l.failing:
		l.Logger.Error("the audit cannot be written", "error", err)
	case err == nil && l.failing:
		l.Logger.Info("the audit is written again", "dropped", l.Dropped())
	}
	l.failing = err != nil
}

func (l *Log) openAnew() {
	out, err := l.create()
	if err != nil {
		l.Logger.Error("the audit cannot be opened anew; the old file goes on", "error", err)
		return
	}
	l.out.Close()
	l.out, l.torn = out, false
}
