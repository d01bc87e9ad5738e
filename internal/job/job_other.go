//go:build !unix

package job

import (
	"os"
	"os/exec"
)

var (
	ending = []os.Signal{os.Interrupt}
	passed []os.Signal
)

type handle struct{ process *os.Process }

// run starts the command, says so, and returns when it has ended.
func (j *Job) run(started chan<- error) {
	cmd := &exec.Cmd{Path: j.command.Path, Args: j.command.Args, Env: j.command.Env}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Start()
	j.handle.process = cmd.Process
	started <- err
	if err == nil {
		cmd.Wait()
		j.code = cmd.ProcessState.ExitCode()
		close(j.done)
	}
}

func (j *Job) forward(os.Signal) {} // the console sends an interrupt to the job as well

func (j *Job) terminate() { j.kill() } // there is no polite way

// Follow is for systems with job control.
func (j *Job) Follow() {}

func (j *Job) kill() { j.handle.process.Kill() }

// alive knows of the command alone.
func (j *Job) alive() bool {
	select {
	case <-j.done:
		return false
	default:
		return true
	}
}

func (j *Job) reapAll() {}
