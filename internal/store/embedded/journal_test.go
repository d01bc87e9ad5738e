package embedded

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	tms "github.com/manankarani/token-manager"
)

// wasDone reports whether the group has been called durable.
func (g *group) wasDone() bool {
	select {
	case <-g.done:
		return true
	default:
		return false
	}
}

// A group that could not be written is never called durable, so that whoever waits for it hears of the failure only.
func TestAGroupThatFailedIsNotDone(t *testing.T) {
	for name, op := range map[string]errorfs.OpKind{"write": errorfs.OpFileWrite, "fsync": errorfs.OpFileSyncData} {
		t.Run(name, func(t *testing.T) {
			broken := onBrokenDisk(t, op)
			s, err := Open(Options{Dir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			broken.Store(true)
			s.mu.Lock()
			s.journal.setFenceBound(7)
			g := s.journal.pending()
			s.mu.Unlock()
			<-s.Failed()
			s.journal.idle.Wait()
			if g.wasDone() {
				t.Error("a group whose write failed is done")
			}
			broken.Store(false)
			_ = s.Close()
		})
	}
}

// Nothing is written after a failure, not even what was about to be.
func TestNothingIsWrittenAfterAFailure(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, s, 1)
	s.mu.Lock()
	// wakes the writer, who needs the lock
	s.journal.setToken(tms.DefaultPool, s.pools[tms.DefaultPool].first())
	g := s.journal.pending()
	s.journal.fail(errors.New("the disk is broken"))
	s.mu.Unlock()
	s.journal.idle.Wait()
	if err := s.Close(); err == nil || g.wasDone() {
		t.Errorf("a group is done after the failure; closing says %v", err)
	}
	if value := inLog(t, dir, tokenKey(tms.DefaultPool, "late")); value != nil {
		t.Errorf("the log holds what came after the failure: %q", value)
	}
}

// inLog returns the value of a key in a directory that no store has open.
func inLog(t *testing.T, dir string, key []byte) []byte {
	t.Helper()
	db, err := pebble.Open(dir, &pebble.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	value, err := (&journal{db: db}).get(key)
	if err != nil {
		t.Error(err)
	}
	return value
}

func (p *pool) first() *entry { return p.available.first() }

// A refusal, of a batch or of an item, is not answered before what it is founded on is durable: a crash would take that
// back, and make the refusal wrong.
func TestARefusalWaitsForTheLog(t *testing.T) {
	disk := onSlowDisk(t)
	s := open(t, Options{Dir: t.TempDir()})
	key := tms.LeaseKey{Token: fill(t, s, 1)[0]}
	disk.stop()
	deleted := make(chan error, 1)
	go func() {
		results, err := s.Delete(context.WithoutCancel(t.Context()), tms.DefaultPool, []tms.LeaseKey{key})
		deleted <- errors.Join(append(results, err)...)
	}()
	<-disk.reached // the token is gone, and the log does not know it
	refused := map[tms.Code]func(ctx context.Context) error{
		tms.ErrTokenNotFound: func(ctx context.Context) error {
			_,
				err := s.Token(ctx, tms.DefaultPool, tms.LeaseKey{Token: key.Token})
			return err
		},
		tms.ErrNoTokenAvailable: func(ctx context.Context) error { return assignOne(ctx, s) },
	}
	for code, ask := range refused {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if err := ask(ctx); !errors.Is(err, context.DeadlineExceeded) || tms.CodeOf(err) != "" {
			t.Errorf("what would be refused with %s says %v before the token's end is durable", code, err)
		}
		cancel()
	}
	close(disk.goOn)
	if err := <-deleted; err != nil {
		t.Error(err)
	}
	for code, ask := range refused {
		if err := ask(t.Context()); tms.CodeOf(err) != code {
			t.Errorf("got %v, want %s", err, code)
		}
	}
}

func assignOne(ctx context.Context, s *Store) error {
	results, err := s.Assign(ctx, tms.DefaultPool, make([]tms.AssignRequest, 1))
	if err != nil {
		return err
	}
	return results[0].Err
}

// slowDisk is a disk whose next fsync of the log takes until it is let go on.
type slowDisk struct {
	armed   chan struct{} // holds one token when the next fsync is to stop
	reached chan struct{} // closed when it has
	goOn    chan struct{}
}

func (d *slowDisk) stop() { d.armed <- struct{}{} }

// onSlowDisk puts such a disk under the stores of this test.
func onSlowDisk(t *testing.T) *slowDisk {
	d := &slowDisk{armed: make(chan struct{}, 1), reached: make(chan struct{}), goOn: make(chan struct{})}
	real := diskFS
	diskFS = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind != errorfs.OpFileSyncData || !strings.HasSuffix(op.Path, ".log") {
			return nil
		}
		select {
		case <-d.armed:
			close(d.reached)
			<-d.goOn
		default:
		}
		return nil
	}))
	t.Cleanup(func() { diskFS = real })
	return d
}
