package redis

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/rueidis"

	tms "github.com/manankarani/token-manager"
)

// replicas holds answers back until so many replicas have what they rest on. Calls whose functions have run gather
// while one WAIT is on its way, and share the next, as those of the embedded store share an fsync. The WAIT goes over a
// connection of its own, so that one which hangs holds up nobody who does not need it. It is not about the writes of
// its connection, of which there are none, but about all that the server had done when it carried out the command
// before: that is how Redis counts.
//
// The connections may lead to two processes, as when one is made anew while a proxy or a Sentinel changes the master.
// So both are asked which process is there, and a call counts only if its own was not made anew since it was sent.
type replicas struct {
	need   int
	within time.Duration // the longest that one WAIT takes
	calls  *link         // over which the functions run
	waits  *link         // over which the replicas are waited for

	mu      sync.Mutex
	gathers map[string]*waiting // by the key whose node is asked
}

// waiting are the calls that share one WAIT.
type waiting struct {
	done chan struct{}
	err  error
	next *waiting // those that gather while this one is on its way
}

// slowestReplica is the longest that a call waits for replicas: a hung one is told in under a second.
const slowestReplica = 700 * time.Millisecond

func newReplicas(need int, calls, waits *link) *replicas {
	return &replicas{need: need, within: min(slowestReplica, calls.timeout), calls: calls, waits: waits,
		gathers: map[string]*waiting{}}
}

// unheld are the functions whose answers wait for no replica: they look, or nobody has asked for what they do.
var unheld = map[string]bool{fnPool: true, fnToken: true, fnTokens: true, fnWaiters: true, fnExpire: true,
	fnReport: true, fnPurge: true, fnKeys: true}

// have waits until the replicas have what a function has done or seen, which was sent when the calls had been connected
// so often. An error means that they may not, so that the outcome is unknown.
func (r *replicas) have(ctx context.Context, key, function string, dials int64) error {
	if r.need == 0 || unheld[function] {
		return nil
	}
	w := r.gather(key)
	select {
	case <-w.done:
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", tms.ErrNotDurable, ctx.Err())
	}
	if w.err == nil && r.calls.dials.Load() != dials {
		return fmt.Errorf("%w: the connection was made anew meanwhile", tms.ErrNotDurable)
	}
	return w.err
}

// gather joins the calls that share the next WAIT.
func (r *replicas) gather(key string) *waiting {
	r.mu.Lock()
	defer r.mu.Unlock()
	under := r.gathers[key]
	if under == nil { // nobody waits: this call begins at once
		w := &waiting{done: make(chan struct{})}
		r.gathers[key] = w
		go r.run(key, w)
		return w
	}
	if under.next == nil {
		under.next = &waiting{done: make(chan struct{})}
	}
	return under.next
}

// run waits for one group after the other until nobody gathers any more.
func (r *replicas) run(key string, w *waiting) {
	for w != nil {
		w.err = r.wait(key)
		close(w.done)
		r.mu.Lock()
		if w = w.next; w == nil {
			delete(r.gathers, key)
		} else {
			r.gathers[key] = w
		}
		r.mu.Unlock()
	}
}

// wait asks the key's node how many replicas have what it had done when it was asked.
func (r *replicas) wait(key string) error {
	ctx, cancel := context.WithTimeout(context.Background(), r.within+200*time.Millisecond)
	defer cancel()
	ran, err := r.process(ctx, key)
	if err != nil {
		return fmt.Errorf("%w: %w", tms.ErrNotDurable, err)
	}
	client, err := r.waits.connected(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", tms.ErrNotDurable, err)
	}
	conn, free := client.Dedicate()
	defer free()
	results := conn.DoMulti(ctx, processOf(conn.B(), key),
		conn.B().Wait().Numreplicas(int64(r.need)).Timeout(r.within.Milliseconds()).Build())
	for _, result := range results {
		if err := result.Error(); err != nil {
			return fmt.Errorf("%w: %w", tms.ErrNotDurable, err)
		}
	}
	if asked, _ := results[0].ToString(); asked != ran {
		return fmt.Errorf("%w: another server was asked for its replicas", tms.ErrNotDurable)
	}
	if n, err := results[1].AsInt64(); err != nil || n < int64(r.need) {
		return fmt.Errorf("%w: %d of %d replicas have it", tms.ErrNotDurable, n, r.need)
	}
	return nil
}

// process returns which process is at the end of the connection of the calls.
func (r *replicas) process(ctx context.Context, key string) (string, error) {
	client, err := r.calls.connected(ctx)
	if err != nil {
		return "", err
	}
	return client.Do(ctx, processOf(client.B(), key)).ToString()
}

func processOf(b rueidis.Builder, key string) rueidis.Completed {
	return b.Fcall().Function(fnProcess).Numkeys(1).Key(key).Build()
}
