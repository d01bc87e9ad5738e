package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/manankarani/token-manager/client"
	"github.com/manankarani/token-manager/internal/job"
)

const (
	onLostStop = "stop"
	onLostWarn = "warn"
)

// jobRun is one tms run.
type jobRun struct {
	*remote
	wish
	file      string
	killAfter time.Duration
	onLost    string
	noneFree  int // the exit code where no token is free
	passKey   bool

	helds  []*client.Held
	aside  sync.Map // of helds, those whose token is known to have been put aside
	herald *herald
	follow func() // ends tms as the job ended, where its exit code does not say it all
}

func newRun() *cobra.Command {
	j := &jobRun{}
	cmd := &cobra.Command{
		Use:   "run [flags] -- COMMAND [ARGUMENT...]",
		Short: "Run a job that needs a token, and give the token back at its end",
		Long: "Take a token, run the command without a shell, and give the token back when it has ended. The job " +
			"finds\n" +
			"the token in its environment as TMS_TOKEN, TMS_LEASE_ID, TMS_FENCE and TMS_POOL. tms keeps the lease " +
			"alive.\n" +
			"When it is lost the job is stopped before the server can give the token to another.\n\n" +
			"The job has the standard input, output and error of tms, gets the signals that tms gets, and tms ends " +
			"with its\n" +
			"exit code. What the command leaves running in its process group is stopped before the token is given " +
			"back.",
		Example: "  tms run --pool licences --wait 10m -- ./simulate case-7",
		Args:    cobra.MinimumNArgs(1),

		DisableFlagsInUseLine: true,
	}
	cmd.Flags().SetInterspersed(false)
	j.wish.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&j.file, "file", "", "`PATH` of a file for the token, with mode 0600, instead of the environment")
	flags.BoolVar(&j.passKey, "pass-key", false, "let the job find the key, in its environment as TMS_KEY")
	flags.DurationVar(&j.killAfter, "kill-after", 5*time.Second,
		"`time` that the job, or what its command left, has to end")
	flags.StringVar(&j.onLost, "on-lost", onLostStop, "`what` to do when the lease is lost: stop the job, or only warn")
	flags.IntVarP(&j.noneFree, "conflict-exit-code", "E", exitNoneFree,
		"exit `CODE` where no token is free, or the wait for one is over")
	return asksPool(cmd, nil, func(r *remote, args []string) error {
		j.remote = r
		return j.run(args)
	})
}

func (j *jobRun) run(argv []string) error {
	request, err := j.request(j.Command)
	if err == nil {
		err = oneOf("--on-lost", j.onLost, onLostStop, onLostWarn)
	}
	if err == nil {
		err = notNegative("--kill-after", j.killAfter)
	}
	if err == nil && (j.noneFree < 0 || j.noneFree > 255) {
		err = errors.New("--conflict-exit-code: must be 0 to 255")
	}
	if err == nil && j.file != "" {
		err = checkFile(j.file)
	}
	if err != nil {
		return usage("%v", err)
	}
	path, code, err := job.Find(argv[0])
	if err != nil {
		return &ended{code, fmt.Errorf("run: %w; no token was taken", err)}
	}
	// what guards the job must not die of a closed standard error
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	signals := job.Signals()
	j.herald, j.follow = newHerald(j.ErrOrStderr()), func() {}
	if err := j.acquire(request, signals); err != nil {
		j.herald.end()
		return j.instead(err)
	}
	err = j.finish(j.hold(job.Command{Path: path, Args: argv, Signals: signals, Reap: os.Getpid() == 1}))
	j.herald.end()
	j.follow()
	return err
}

// instead returns the error of a job that got no token with the exit code that was asked for.
func (j *jobRun) instead(err error) error {
	if exitCode(err, true) == exitNoneFree && j.noneFree != exitNoneFree {
		return &ended{j.noneFree, err}
	}
	return err
}

// hold runs the job while the tokens are held, and returns its exit code.
func (j *jobRun) hold(c job.Command) (code int, err error) {
	v := variables(j.server, j.helds)
	c.Env = j.environment(v)
	if j.file != "" {
		file, err := writeJobFile(j.file, v)
		if err != nil {
			return exitFailure, err
		}
		defer file.remove()
	}
	c.MayContinue = func() bool { return j.firstLost() == nil || j.onLost == onLostWarn }
	lost := make(chan *client.Held, len(j.helds))
	running, err := job.Start(c)
	if errors.Is(err, fs.ErrNotExist) { // of what the first line of a script names
		return job.NotFound, fmt.Errorf("run %s: %w", c.Path, err)
	} else if err != nil {
		return job.CannotRun, fmt.Errorf("run %s: %w", c.Path, err)
	}
	for _, h := range j.helds {
		go func() {
			<-h.Context().Done()
			lost <- h
		}()
	}
	return j.guard(running, lost), nil
}

// guard returns when the job has ended with all that it has started in its process group, and stops it before somebody
// else can have its token.
func (j *jobRun) guard(running *job.Job, lost <-chan *client.Held) int {
	over := make(chan struct{})
	go func() {
		defer close(over)
		gone := running.Clear(j.killAfter, func() {
			j.herald.say("the command has ended, but not all that it started: stopping that")
		})
		if !gone {
			j.herald.say("some of it goes on and cannot be stopped")
		}
	}()
	for {
		select {
		case <-over:
			j.follow = running.Follow
			return running.ExitCode()
		case h := <-lost:
			if j.onLost == onLostWarn {
				j.herald.say("lost a token of the pool %q: %v; the job goes on", j.pool, h.Err())
				continue
			}
			if j.isAside(h) {
				j.herald.say("a token of the pool %q was put aside; the job goes on", j.pool)
				continue
			}
			if errors.Is(h.Err(), client.ErrDeleted) && endsWithin(over, j.killAfter) {
				continue
			}
			j.herald.say("lost a token of the pool %q: %v; stopping the job", j.pool, h.Err())
			running.Stop(j.timeToStop(h))
			return exitLeaseLost
		}
	}
}

// finish gives the tokens back, and ends as the job did.
func (j *jobRun) finish(code int, err error) error {
	switch err := j.Close(); {
	case err == nil:
	case slices.ContainsFunc(j.helds, j.isAside):
	case errors.Is(err, client.ErrLost), errors.Is(err, client.ErrDeleted):
		j.herald.say("before the job was over the server had ended the lease")
	default:
		j.herald.say("the token could not be given back, and is free when its lease ends: %v", err)
	}
	if code == 0 && err == nil {
		return nil
	}
	return &ended{code, err}
}

// A lease is taken for lost so long before its end that the job can be stopped within it: as long as the job has to
// end, and a moment for the kill to work. That is a third of the lease at most, so that there is time for renewals; the
// job's time is cut to it.
const (
	killMoment = 500 * time.Millisecond
	marginPart = 3
)

// stopMargin returns how long before its end a lease is taken for lost that lasts so long.
func (j *jobRun) stopMargin(ttl time.Duration) time.Duration {
	return min(j.killAfter+killMoment, ttl/marginPart)
}

// timeToStop returns how long the job has between its TERM and its KILL. Where the server has ended the lease, nothing
// is left to be in time for.
func (j *jobRun) timeToStop(h *client.Held) time.Duration {
	if errors.Is(h.Err(), client.ErrLost) || errors.Is(h.Err(), client.ErrDeleted) {
		return j.killAfter
	}
	end := h.Deadline().Add(h.Margin())
	return min(j.killAfter, time.Until(end)-min(killMoment, h.Margin()/2))
}

// herald says things to a person: who does not read them must hold up nothing that a lease depends on.
type herald struct{ *spool }

const sayMost = 64 << 10 // bytes

func newHerald(out io.Writer) *herald { return &herald{newSpool(out, sayMost, nil)} }

func (h *herald) say(format string, args ...any) { fmt.Fprintf(h, "tms: "+format+"\n", args...) }
