package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

// Whoever is ended in order, at any instant around the hand-over, holds nothing afterwards, and waits no longer, unless
// they have said what they hold.
func TestWhoIsEndedByASignalLeavesNothing(t *testing.T) {
	for name, store := range map[string]string{"memory": "memory:", "redis": redistest.New(t).URL()} {
		p := startServe(t, "--store", store)
		key := p.holdAll(1)[0]
		for i := range 16 {
			cmd := waiting(t, p, "assign", "--wait", "2m", "-o", "json")
			p.untilQueued(t, 1)
			var both sync.WaitGroup
			both.Go(func() {
				time.Sleep(rand.N(10 * time.Millisecond))
				p.must(200, http.MethodPost, "/unblock-token", key)
			})
			time.Sleep(rand.N(15 * time.Millisecond))
			cmd.Process.Signal([]syscall.Signal{syscall.SIGTERM, syscall.SIGINT}[i%2])
			both.Wait()
			err := cmd.Wait()
			p.untilQueued(t, 0)
			key = p.heldAfter(t, cmd, err)
			if t.Failed() {
				t.Fatalf("%s, try %d", name, i)
			}
		}
	}
}

// heldAfter returns the lease that a command has written, though a signal may have ended it after that, or else one
// that is taken at once, because nobody has it.
func (p *process) heldAfter(t *testing.T, cmd *exec.Cmd, err error) object {
	t.Helper()
	var lease reply
	if said := fmt.Sprint(cmd.Stdout); err == nil || said != "" {
		if err := json.Unmarshal([]byte(said), &lease); err != nil {
			t.Fatal(err)
		}
	} else if lease, err = p.call(http.MethodPost, "/assign-token", object{}); err != nil || lease.Status != 200 {
		t.Errorf("somebody holds the token: %+v, error %v; the command said %s%s", lease, err, cmd.Stdout, cmd.Stderr)
	}
	return object{"token": lease.Token, "lease_id": lease.LeaseID}
}
