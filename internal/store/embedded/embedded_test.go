package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
	"github.com/manankarani/token-manager/internal/store/storetest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("TMS_TEST_HOLD_DIR"); dir != "" {
		holdDir(dir)
	}
	goleak.VerifyTestMain(m)
}

func inMemory(t testing.TB, clock *storetest.Clock) []tms.Sweeper {
	return []tms.Sweeper{open(t, Options{Now: clock.Now})}
}

func onDisk(t testing.TB, clock *storetest.Clock) []tms.Sweeper {
	return []tms.Sweeper{open(t, Options{Dir: t.TempDir(), Now: clock.Now})}
}

func TestContractInMemory(t *testing.T) { storetest.Run(t, inMemory) }
func TestContractOnDisk(t *testing.T)   { storetest.Run(t, onDisk) }
func TestQueueInMemory(t *testing.T)    { storetest.RunQueue(t, inMemory) }
func TestQueueOnDisk(t *testing.T)      { storetest.RunQueue(t, onDisk) }

// open opens a store that is checked and closed at the end of the test.
func open(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, s) })
	return s
}

func shut(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Check(context.Background()); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// take assigns n tokens.
func take(t testing.TB, s *Store, n int) []tms.Token {
	t.Helper()
	results, err := s.Assign(t.Context(), tms.DefaultPool, []tms.AssignRequest{{ClientID: "c", Count: n}})
	if err != nil || results[0].Err != nil {
		t.Fatal(err, results)
	}
	return results[0].Tokens
}

func fill(t testing.TB, s *Store, n int) []string {
	t.Helper()
	made, err := s.Generate(t.Context(), tms.DefaultPool, tms.GenerateRequest{Tokens: make([]tms.NewToken, n)})
	if err != nil {
		t.Fatal(err)
	}
	return made.Tokens
}

// What was acknowledged is there after the process was opened anew, with every lease, policy and count.
func TestReopenedStoreRemembersEverything(t *testing.T) {
	clock, dir := storetest.NewClock(), t.TempDir()
	s, err := Open(Options{Dir: dir, Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	cooldown := time.Minute
	s.PutPool(t.Context(), "a", tms.PolicyChange{Cooldown: &cooldown})
	s.PutPool(t.Context(), "b", tms.PolicyChange{})
	s.Generate(t.Context(), "a", tms.GenerateRequest{Tokens: []tms.NewToken{{Value: "x",
		Metadata: map[string]string{"site": "Oslo", "": ""}}, {Value: "y"}}})
	s.Assign(t.Context(), "a", []tms.AssignRequest{{ClientID: "one two"}})
	clock.Advance(2 * time.Minute)
	s.Expire(t.Context(), "a", 10)
	fill(t, s, 20)
	taken := take(t, s, 5)
	s.Unblock(t.Context(), tms.DefaultPool, []tms.LeaseKey{{Token: taken[0].Value},
		{Token: taken[1].Value, Quarantine: true}})
	s.DeletePool(t.Context(), "b")
	describeAndRepeat(t, s)
	before := map[string]image{}
	for name, p := range s.pools {
		before[name] = p.remembered()
	}
	shut(t, s)

	again := open(t, Options{Dir: dir, Now: clock.Now})
	after := map[string]image{}
	for name, p := range again.pools {
		after[name] = p.remembered()
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("before -, after +\n%s", diff)
	}
}

// describeAndRepeat makes a pool in which everything stands that only some pools have: labels and clients, remembered
// requests, tokens that were handed to somebody.
func describeAndRepeat(t *testing.T, s *Store) {
	t.Helper()
	s.PutPool(t.Context(), "c", tms.PolicyChange{Labels: &[]string{"site"}, MaxLeasesPerClient: new(3)})
	oslo := map[string]string{"site": "Oslo"}
	requests := []tms.AssignRequest{{ClientID: "waits", Ticket: "one", Match: oslo}, {ClientID: "waits", Ticket: "two"}}
	s.Assign(t.Context(), "c", requests)
	made, err := s.Generate(t.Context(), "c", tms.GenerateRequest{RequestID: "r",
		Tokens: []tms.NewToken{{Metadata: oslo}, {}, {}, {}}})
	if err != nil {
		t.Fatal(err)
	}
	results, err := s.Assign(t.Context(), "c", []tms.AssignRequest{{ClientID: "c", Count: 2, RequestID: "s"}})
	if err != nil || results[0].Err != nil {
		t.Fatal(err, results)
	}
	seen, err := s.Token(t.Context(), "c", tms.LeaseKey{Token: made.Tokens[0]})
	if err != nil || seen.State != tms.Assigned ||
		seen.Lease.Fence != 0 {
		t.Fatalf("the token from Oslo was not handed: %+v, %v", seen, err)
	}
}

// A repeat after a restart is answered as before, and what was handed before it comes back.
func TestRequestsAndHandedTokensSurvive(t *testing.T) {
	clock, dir := storetest.NewClock(), t.TempDir()
	s, err := Open(Options{Dir: dir, Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	describeAndRepeat(t, s)
	again := tms.AssignRequest{ClientID: "c", Count: 2, RequestID: "s"}
	first, err := s.Assign(t.Context(), "c", []tms.AssignRequest{again})
	if err != nil {
		t.Fatal(err)
	}
	shut(t, s)
	s = open(t, Options{Dir: dir, Now: clock.Now})
	second, err := s.Assign(t.Context(), "c", []tms.AssignRequest{again})
	if diff := cmp.Diff(first, second); err != nil || diff != "" {
		t.Errorf("the repeat after a restart: %v\n%s", err, diff)
	}
	clock.Advance(tms.PickupTime + time.Millisecond)
	if _, stats, err := s.Pool(t.Context(), "c"); err != nil || stats.Available != 2 || stats.Assigned != 2 {
		t.Errorf("%+v, %v", stats, err)
	}
	results, err := s.Assign(t.Context(), "c", []tms.AssignRequest{{ClientID: "d",
		Match: map[string]string{"site": "Oslo"}}})
	if err != nil || results[0].Err != nil {
		t.Errorf("the token from Oslo is not to be had: %v, %v", err, results)
	}
}

// A data directory of the first layout, whose tokens had no past, is read, and is of the present layout from then on.
func TestTheFirstLayoutIsRead(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, s, 3)
	lease := take(t, s, 1)[0]
	if err := s.journal.db.Set(versionKey, []byte{1}, pebble.Sync); err != nil {
		t.Fatal(err)
	}
	shut(t, s)
	s = open(t, Options{Dir: dir})
	if version, err := s.journal.get(versionKey); err != nil || version[0] != layoutVersion {
		t.Errorf("the layout is version %d, %v", version, err)
	}
	kept, err := s.KeepAlive(t.Context(), tms.DefaultPool, []tms.LeaseKey{{Token: lease.Value,
		LeaseID: lease.Lease.ID}})
	if err != nil || kept[0].Err != nil {
		t.Errorf("%v, %v", err, kept)
	}
}

func TestTheClockNeverGoesBack(t *testing.T) {
	var ms atomic.Int64
	ms.Store(1_000_000)
	s := open(t, Options{Now: func() time.Time { return time.UnixMilli(ms.Load()) }})
	fill(t, s, 1)
	first := take(t, s, 1)[0].Lease
	ms.Add(-60_000)
	results, err := s.KeepAlive(t.Context(), tms.DefaultPool, []tms.LeaseKey{{Token: s.anyValue(), LeaseID: first.ID}})
	if err != nil || results[0].Err != nil || results[0].Token.Lease.TTL != time.Minute {
		t.Errorf("after the clock was set back a keep-alive answers %+v, %v", results, err)
	}
}

func (s *Store) anyValue() string {
	for value := range s.pools[tms.DefaultPool].tokens {
		return value
	}
	return ""
}

// A data directory belongs to one process.
func TestTheDataDirectoryIsLocked(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	fill(t, s, 1)
	if _, err := Open(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), dir+" is in use") {
		t.Errorf("a second store in the process: %v", err)
	}
	inAnotherProcess(t, dir)
}

// inAnotherProcess fails the test unless another process is refused the directory.
func inAnotherProcess(t *testing.T, dir string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "TMS_TEST_HOLD_DIR="+dir)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "is in use") {
		t.Errorf("a second process: %v, %s", err, out)
	}
	if mine := fmt.Sprintf("(pid %d)", os.Getpid()); runtime.GOOS == "linux" && !strings.Contains(string(out), mine) {
		t.Errorf("a second process does not name the first, %s: %s", mine, out)
	}
}

// holdDir is what the process of [TestTheDataDirectoryIsLocked] does.
func holdDir(dir string) {
	if _, err := Open(Options{Dir: dir}); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// A write that fails ends the store: the step is not answered as done, nothing is after it, and what was acknowledged
// before is there at the next opening.
func TestTheFirstFailedWriteStopsTheStore(t *testing.T) {
	for name, op := range map[string]errorfs.OpKind{"write": errorfs.OpFileWrite, "fsync": errorfs.OpFileSyncData} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			broken := onBrokenDisk(t, op)
			s, err := Open(Options{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			acknowledged := fill(t, s, 10)
			broken.Store(true)
			if _, err := s.Generate(t.Context(), tms.DefaultPool, tms.GenerateRequest{Tokens: make([]tms.NewToken,
				1)}); err == nil || tms.CodeOf(err) != "" {
				t.Errorf("generate on a broken disk: %v", err)
			}
			<-s.Failed()
			broken.Store(false)
			if err := s.Ready(t.Context()); err == nil {
				t.Error("a failed store is ready")
			}
			if _, err := s.KeepAlive(t.Context(), tms.DefaultPool,
				[]tms.LeaseKey{{Token: acknowledged[0]}}); err == nil ||
				tms.CodeOf(err) != "" {
				t.Errorf("a keep-alive after the failure: %v", err)
			}
			if err := s.Close(); err == nil {
				t.Error("closing says nothing of the failure")
			}
			again := open(t, Options{Dir: dir})
			for _, value := range acknowledged {
				if _, err := again.Token(t.Context(), tms.DefaultPool, tms.LeaseKey{Token: value}); err != nil {
					t.Errorf("an acknowledged token after the failure: %v", err)
				}
			}
		})
	}
}

// onBrokenDisk puts a disk under the stores of this test that fails with every operation of a kind on the log while the
// switch is set.
func onBrokenDisk(t *testing.T, kind errorfs.OpKind) *atomic.Bool {
	broken := &atomic.Bool{}
	real := diskFS
	diskFS = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken.Load() && op.Kind == kind && strings.HasSuffix(op.Path, ".log") {
			return errors.New("the disk is broken")
		}
		return nil
	}))
	t.Cleanup(func() { diskFS = real })
	return broken
}

// Steps that run at once share their fsyncs, and each is durable when it is answered.
func TestConcurrentStepsAreAllDurable(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 50 {
				fill(t, s, 1)
			}
		})
	}
	all.Wait()
	shut(t, s)
	again := open(t, Options{Dir: dir})
	if n := len(again.pools[tms.DefaultPool].tokens); n != 800 {
		t.Errorf("%d of 800 tokens are there", n)
	}
}

func TestSyncAtAnIntervalClosesDurably(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(Options{Dir: dir, SyncInterval: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, s, 100)
	time.Sleep(10 * time.Millisecond) // some intervals pass
	fill(t, s, 100)
	shut(t, s)
	if n := len(open(t, Options{Dir: dir}).pools[tms.DefaultPool].tokens); n != 200 {
		t.Errorf("%d of 200 tokens are there", n)
	}
}

// A caller whose deadline passes while the disk is slow gets an error that claims nothing.
func TestAWaitForTheLogEndsWithTheContext(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	s.journal.lock.Lock() // as if the disk took its time: nothing is written meanwhile
	g := s.journal.pending()
	if g == nil || g == s.journal.writing {
		s.journal.setFenceBound(7)
		g = s.journal.pending()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.wait(ctx); !errors.Is(err, context.Canceled) || tms.CodeOf(err) != "" {
		t.Errorf("wait: %v", err)
	}
	s.journal.lock.Unlock()
}

func TestALogOfAnotherVersionIsRefused(t *testing.T) {
	dir := t.TempDir()
	db, err := pebble.Open(dir, &pebble.Options{})
	if err != nil {
		t.Fatal(err)
	}
	db.Set(versionKey, []byte{layoutVersion + 1}, pebble.Sync)
	db.Close()
	if _, err := Open(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "version") {
		t.Errorf("open: %v", err)
	}
}

func TestRecordsSurviveTheirEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		instant := rapid.Int64Range(-1, 1<<50)
		r := rules.Record{
			State:    rapid.SampledFrom(rules.States).Draw(t, "state"),
			Seen:     instant.Draw(t, "seen"),
			Until:    instant.Draw(t, "until"),
			Metadata: rapid.MapOfN(rapid.String(), rapid.String(), 1, 5).Draw(t, "metadata"),
		}
		if r.State == tms.Assigned {
			r.Lease = rules.Lease{ID: rapid.String().Draw(t, "id"), Fence: instant.Draw(t, "fence"),
				ClientID: rapid.String().Draw(t, "client"), AssignedAt: instant.Draw(t, "at"),
				TTL: instant.Draw(t, "ttl")}
		}
		raw := encodeRecord(r, pack(r.Metadata))
		e, err := decodeEntry("token", raw)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, e.whole()); diff != "" {
			t.Fatal(diff)
		}
		cut := rapid.IntRange(0, len(raw)-1).Draw(t, "cut")
		_, _ = decodeEntry("token", raw[:cut]) // must not panic; most cuts are errors, those between two pairs are not
	})
}

func TestDamagedRecordsAreNotRead(t *testing.T) {
	for _, raw := range []string{"", "z", "a", "l\x02\x02", "a\x02\x02\x05abc",
		"a\x02\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"} {
		if _, err := decodeEntry("token", []byte(raw)); err == nil {
			t.Errorf("%q was read", raw)
		}
	}
}

// Whoever waits for the start of a large store is told from time to time that it goes on.
func TestTheStartOfALargeStoreSaysHowFarItIs(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	reopen := func() *Store {
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := reopen()
	fill(t, s, tms.MaxBatch)
	fill(t, s, tms.MaxBatch)
	s.Close()
	for _, run := range []struct {
		pace time.Duration // of the clock, each time that it is looked at
		want int
	}{{0, 0}, {progressEvery, 2}} {
		var said strings.Builder
		now := time.Now()
		o.Logger = slog.New(slog.NewTextHandler(&said, nil))
		o.wall = func() time.Time { now = now.Add(run.pace); return now }
		reopen().Close()
		if n := strings.Count(said.String(), "reading the store"); n != run.want {
			t.Errorf("it was said %d times, want %d:\n%s", n, run.want, said.String())
		}
	}
}
