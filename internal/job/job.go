// Package job runs one command as if it had been started in the caller's place: with the caller's standard input,
// output and error, and the terminal if there is one, in a process group of its own, which gets the signals that the
// caller gets.
package job

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Command says what to run.
type Command struct {
	Path string   // of the executable: see [Find]
	Args []string // the name first
	Env  []string

	// Signals are handed to the job's process group: see [Signals]. Nil: none are.
	Signals chan os.Signal

	// MayContinue is asked before a job that was suspended from the terminal goes on. On false it stays suspended. Nil:
	// it may.
	MayContinue func() bool

	// Reap has those asked how they ended, until the job is over, that have become children of the caller because their
	// own parents had ended: of the first process of a container, all such. The caller has no other children then. Only
	// Linux can do that.
	Reap bool
}

// Exit codes of commands that could not be run, as shells and env have them.
const (
	CannotRun = 126
	NotFound  = 127
)

// Job is a command that runs, or has ended.
type Job struct {
	command Command
	handle  handle
	done    chan struct{} // the command has ended
	code    int
	over    chan struct{} // nothing is handed to the group any more
	ending  sync.Once

	told      atomic.Bool // the group was sent a signal that asks it to end
	suspended atomic.Bool // together with the caller, from the terminal
}

// Find returns the path of a command as the shell finds it, and with an error the exit code that shells have for it.
func Find(name string) (path string, code int, err error) {
	path, err = exec.LookPath(name)
	switch {
	case err == nil:
		return path, 0, nil
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return "", NotFound, err
	}
	return "", CannotRun, err
}

// Signals returns a channel that gets the signals which ask a process to end. [Start] adds those that a job is sent
// besides. A signal that the process was started to ignore is left out, so that the job ignores it too.
func Signals() chan os.Signal {
	signals := make(chan os.Signal, 32)
	listen(signals, ending)
	return signals
}

func listen(to chan os.Signal, signals []os.Signal) {
	for _, s := range signals {
		if !signal.Ignored(s) {
			signal.Notify(to, s)
		}
	}
}

// Start starts the command. On Linux the process dies by SIGKILL with the caller, however that ends; what it has
// started itself does not. An error means that it was not started. A job that was is to be ended by [Job.Clear] or
// [Job.Stop].
func Start(c Command) (*Job, error) {
	j := &Job{command: c, done: make(chan struct{}), over: make(chan struct{})}
	if c.Signals != nil {
		listen(c.Signals, passed)
	}
	started := make(chan error)
	go j.run(started)
	if err := <-started; err != nil {
		return nil, err
	}
	if c.Signals != nil {
		go j.forwardAll()
	}
	if c.Reap {
		go j.reapAll()
	}
	return j, nil
}

// ExitCode returns how the command ended: its exit code, or 128 and the number of the signal that ended it. It waits
// for the end.
func (j *Job) ExitCode() int {
	<-j.done
	return j.code
}

func (j *Job) forwardAll() {
	for {
		select {
		case s := <-j.command.Signals:
			if slices.Contains(ending, s) {
				j.told.Store(true)
			}
			j.forward(s)
		case <-j.over:
			return
		}
	}
}

func (j *Job) mayContinue() bool { return j.command.MayContinue == nil || j.command.MayContinue() }

// Stop asks the job's process group to end, kills what is left of it after the given time, and waits for the command's
// end. With no time it kills at once.
func (j *Job) Stop(killAfter time.Duration) {
	defer j.end()
	if killAfter > 0 {
		j.terminate()
	}
	j.killAfter(killAfter)
	<-j.done
}

// Clear returns when the command has ended and nothing else of its process group is left. What outlives the command has
// the given time to end by itself; then left is called, and it is stopped: it gets TERM and as much time again, unless
// the group was sent a signal to end before, and then KILL. Clear returns false if something is left all the same, as
// what has changed its user may be.
func (j *Job) Clear(patience time.Duration, left func()) (gone bool) {
	<-j.done
	defer j.end()
	if j.awaitGroup(patience) {
		return true
	}
	left()
	if patience > 0 && !j.told.Load() {
		j.terminate()
		return j.killAfter(patience)
	}
	return j.killAfter(0)
}

// killAfter kills what is left of the group after the given time, sees it end, and reports whether it did.
func (j *Job) killAfter(patience time.Duration) (gone bool) {
	killing := time.AfterFunc(patience, j.kill) // punctually, however long a look at the group takes
	defer killing.Stop()
	return j.awaitGroup(max(0, patience) + killMoment)
}

const (
	killMoment = time.Second // for what is killed to be gone
	firstLook  = 2 * time.Millisecond
	mostPause  = 100 * time.Millisecond // between two looks at a group that takes its time
)

// awaitGroup returns when nothing of the group is left, or after the given time, and says which.
func (j *Job) awaitGroup(most time.Duration) (gone bool) {
	deadline := time.After(most)
	for pause := firstLook; j.alive(); pause = min(2*pause, mostPause) {
		select {
		case <-deadline:
			return !j.alive()
		case <-time.After(pause):
		}
	}
	return true
}

func (j *Job) end() { j.ending.Do(func() { close(j.over) }) }
