package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// journal makes steps durable. Steps append to the open group under the store's lock; one goroutine takes the group,
// writes it with one fsync, and takes the next, which has gathered meanwhile (group commit). A nil journal keeps
// nothing.
//
// The first write or fsync that fails ends it: no group is ever written again, since after a failed fsync nobody knows
// what is on the disk, and a later one would claim success.
type journal struct {
	db    *pebble.DB
	disk  *logDisk      // under db
	held  *dirLock      // on the data directory
	every time.Duration // between fsyncs; zero: with every group

	putBack bool // the directory is a copy that somebody has put back

	// Guarded by the store's lock.
	open    *group // gathers; empty if its batch is nil
	writing *group // was taken last

	wake chan struct{} // holds one token when the open group is not empty
	stop chan struct{}
	idle sync.WaitGroup
	lock sync.Locker // the store's

	progress progress // of reading the log

	backups chan struct{} // holds one token while a backup is open

	*failure // the store's, which a write or fsync that fails is
}

// group is what one write makes durable, as far as the store promises it.
type group struct {
	journal *journal
	batch   *pebble.Batch
	done    chan struct{} // closed when the group is durable
}

func newJournal(o Options, s *Store, held *dirLock) *journal {
	j := &journal{
		held:    held,
		every:   o.SyncInterval,
		wake:    make(chan struct{}, 1),
		stop:    make(chan struct{}),
		lock:    &s.mu,
		backups: make(chan struct{}, 1),
		failure: s.failure,
	}
	j.open = j.newGroup()
	return j
}

// start begins to write.
func (j *journal) start() {
	j.idle.Go(j.run)
	if j.every > 0 {
		j.idle.Go(j.syncs)
	}
}

func (j *journal) newGroup() *group { return &group{journal: j, done: make(chan struct{})} }

// batch returns the batch of the open group.
func (j *journal) batch() *pebble.Batch {
	if j.open.batch == nil {
		j.open.batch = j.db.NewBatch()
		j.wake <- struct{}{}
	}
	return j.open.batch
}

// append adds one record to the open group. Encoding into memory cannot fail; should the batch refuse all the same, the
// journal ends.
func (j *journal) append(err error) {
	if err != nil {
		j.fail(err)
	}
}

func (j *journal) setToken(pool string, e *entry) {
	if j != nil {
		j.append(j.batch().Set(tokenKey(pool, e.value()), encodeRecord(e.record(), e.metadata()), nil))
	}
}

func (j *journal) setHistory(pool string, e *entry) {
	if j != nil {
		j.append(j.batch().Set(historyKey(pool, e.value()), []byte(e.history()), nil))
	}
}

func (j *journal) deleteToken(pool string, e *entry) {
	if j == nil {
		return
	}
	j.append(j.batch().Delete(tokenKey(pool, e.value()), nil))
	if e.past != nil {
		j.append(j.batch().Delete(historyKey(pool, e.value()), nil))
	}
}

func (j *journal) setPool(p *pool) {
	if j != nil {
		j.append(j.batch().Set(poolKey(p.name), encodePolicy(p.policy.Policy), nil))
	}
}

func (j *journal) setExpired(pool string, counts tms.ExpiryCounts) {
	if j != nil {
		j.append(j.batch().Set(expiredKey(pool), encodeCounts(counts), nil))
	}
}

func (j *journal) deletePool(name string) {
	if j == nil {
		return
	}
	j.append(j.batch().Delete(poolKey(name), nil))
	j.append(j.batch().Delete(expiredKey(name), nil))
	j.append(j.batch().Delete(settleKey(name), nil))
	for _, prefix := range []byte{tokenPrefix, historyPrefix, requestPrefix} {
		from, to := rangeOf(prefix, name)
		j.append(j.batch().DeleteRange(from, to, nil))
	}
}

func (j *journal) setRequest(pool, id string, r *rules.Remembered) {
	if j != nil {
		j.append(j.batch().Set(requestKey(pool, id), encodeRequest(r), nil))
	}
}

func (j *journal) deleteRequest(pool, id string) {
	if j != nil {
		j.append(j.batch().Delete(requestKey(pool, id), nil))
	}
}

func (j *journal) setClock(r clockRecord) {
	if j != nil {
		j.append(j.batch().Set(clockKey, encodeJSON(r), nil))
	}
}

func (j *journal) setSettling(p *pool) {
	if j != nil {
		r := settlingRecord{p.policy.Settling, p.longest, p.lasting}
		j.append(j.batch().Set(settleKey(p.name), encodeJSON(r), nil))
	}
}

func (j *journal) setFenceBound(bound int64) {
	if j != nil {
		j.append(j.batch().Set(fenceKey, encodeNumber(bound), nil))
	}
}

// pending returns the group that everything so far is durable with; nil if everything is.
func (j *journal) pending() *group {
	switch {
	case j == nil:
		return nil
	case j.open.batch != nil:
		return j.open
	}
	return j.writing
}

// wait returns nil when the group is durable. Any error means that the outcome is unknown.
func (g *group) wait(ctx context.Context) error {
	if g == nil {
		return nil
	}
	select {
	case <-g.done:
		return nil
	case <-g.journal.failed:
		return g.journal.stopped()
	case <-ctx.Done():
		return fmt.Errorf("waiting for the log: %w", ctx.Err())
	}
}

// durable waits for the group and returns err, which is what the step returned. A refusal waits as well: what it is
// founded on must not be lost.
func (g *group) durable(ctx context.Context, err error) error {
	if lost := g.wait(ctx); lost != nil {
		return lost
	}
	return err
}

// run writes groups until the journal is closed or fails.
func (j *journal) run() {
	for {
		select {
		case <-j.wake:
			j.write(j.take())
		case <-j.stop:
			return
		case <-j.failed:
			return
		}
	}
}

// take closes the open group to further steps.
func (j *journal) take() *group {
	j.lock.Lock()
	defer j.lock.Unlock()
	j.writing, j.open = j.open, j.newGroup()
	return j.writing
}

// write makes the group durable, or with syncs at an interval hands it to the operating system, unless the journal has
// failed.
func (j *journal) write(g *group) {
	if j.err() != nil {
		return
	}
	// Pebble reports a failed write to its logger and then returns nil: see pebbleLog.
	err := errors.Join(g.batch.Commit(pebble.Sync), g.batch.Close())
	if err != nil {
		j.fail(err)
	}
	if j.err() == nil {
		close(g.done)
	}
}

// atOnce writes beside the groups, and returns when that is on the disk, whatever is synced at an interval.
func (j *journal) atOnce(write func(*pebble.Batch) error) error {
	if j == nil {
		return nil
	}
	err := caught(func() error {
		batch := j.db.NewBatch()
		return errors.Join(write(batch), batch.Commit(pebble.Sync), batch.Close())
	})
	if err != nil {
		j.fail(err)
	}
	if j.every > 0 {
		j.disk.sync()
	}
	return j.stopped()
}

// syncs makes what was written durable, at the journal's interval.
func (j *journal) syncs() {
	tick := time.NewTicker(j.every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			j.disk.sync()
		case <-j.stop:
			return
		case <-j.failed:
			return
		}
	}
}

// close writes the open group and closes the database, which after a failure writes nothing.
func (j *journal) close() error {
	close(j.stop)
	j.idle.Wait()
	if j.err() == nil && j.open.batch != nil {
		j.write(j.take())
	}
	j.disk.sync()
	if err := j.err(); err != nil {
		_ = caught(j.closeDB)
		return err
	}
	return errors.Join(j.closeDB(), j.err())
}

func (j *journal) closeDB() error {
	return errors.Join(j.db.Close(), j.disk.marks.close(), j.held.Close())
}

// pebbleLog hears from Pebble what concerns the journal. Pebble expects Fatalf not to return; it returns here so that
// the process can say what happened and end in order, and the journal takes no step after it.
type pebbleLog struct {
	journal *journal
	log     *slog.Logger
}

func (l pebbleLog) Infof(string, ...any) {}

func (l pebbleLog) Errorf(format string, args ...any) {
	l.log.Error("the log of the store", "error", fmt.Sprintf(format, args...))
}

func (l pebbleLog) Fatalf(format string, args ...any) { l.journal.fail(fmt.Errorf(format, args...)) }
