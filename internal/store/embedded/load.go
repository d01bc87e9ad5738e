package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// load opens the log in o.Dir, reads the state back and begins a new epoch.
func (s *Store) load(o Options) error {
	j, err := openJournal(o, s)
	if err != nil {
		return err
	}
	s.journal = j
	if o.SyncInterval > 0 {
		s.lossy, s.mostLease = bootOf(), rules.LongestUnknown
	}
	err = caught(s.read)
	lost := false
	if err == nil {
		lost, err = s.readClock()
	}
	if err == nil {
		err = s.beginEpoch()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("reading %s: %w", o.Dir, inOneLine(err)), j.closeDB())
	}
	j.start()
	s.goOn(lost || j.putBack)
	return nil
}

func openJournal(o Options, s *Store) (*journal, error) {
	if err := prepareDir(o.Dir, s.log); err != nil {
		return nil, err
	}
	held, err := lockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	j := newJournal(o, s, held)
	j.progress = progress{log: s.log, wall: o.wall, said: o.wall()}
	j.putBack = isPutBack(o.Dir)
	if err := j.openDisk(o); err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", o.Dir, inOneLine(err)), held.Close())
	}
	if err := j.openDB(o.Dir, pebbleOptions(j, s.log)); err != nil {
		return nil, fmt.Errorf("opening %s: %w", o.Dir, inOneLine(err))
	}
	return j, nil
}

// openDisk sees that the logs are what they were when they were synced, and goes on marking how far they are.
func (j *journal) openDisk(o Options) error {
	v, err := lookAt(o.Dir)
	if err != nil {
		return err
	}
	if err := v.check(); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(o.Dir, checkpointName)); err != nil { // of a backup that a crash cut off
		return err
	}
	j.disk = newLogDisk(o, v.marks, j.failure)
	return v.marks.open(diskFS, o.Dir, o.SyncInterval > 0)
}

// openDB opens the log.
func (j *journal) openDB(dir string, o *pebble.Options) error {
	defer o.FileCache.Unref() // which the database holds by then
	err := caught(func() (err error) {
		j.db, err = pebble.Open(dir, o)
		return err
	})
	if err != nil {
		return errors.Join(err, j.disk.marks.close(), j.held.Close())
	}
	if err := j.err(); err != nil {
		_ = caught(j.closeDB)
		return err
	}
	return nil
}

// openTables is how many tables are kept open. They are read at the start, one after the other, and when they are
// merged.
const openTables = 16

// pebbleOptions returns what differs from Pebble's defaults: every record is read once, at the start, so that neither
// caches nor filters would earn their keep.
func pebbleOptions(j *journal, logger *slog.Logger) *pebble.Options {
	return &pebble.Options{
		FS:                 j.disk,
		Lock:               j.held.file,
		FileCache:          pebble.NewFileCache(1, openTables),
		Logger:             pebbleLog{j, logger},
		MemTableSize:       64 << 20,
		FormatMajorVersion: pebble.FormatWALSyncChunks, // which tells a log that has rotted from one that was cut short
		EventListener:      &pebble.EventListener{BackgroundError: j.fail},
	}
}

// read brings the state back into memory.
func (s *Store) read() error {
	version, err := s.journal.get(versionKey)
	switch {
	case err != nil:
		return err
	case version == nil:
		return s.journal.db.Set(versionKey, []byte{layoutVersion}, pebble.Sync)
	case len(version) != 1 || version[0] < oldestVersion || version[0] > layoutVersion:
		return fmt.Errorf("its layout is version %d, this program reads version %d to %d", version, oldestVersion,
			layoutVersion)
	}
	if err := s.readRecords(); err != nil {
		return err
	}
	for _, p := range s.pools {
		p.restore()
	}
	return nil
}

func (s *Store) readRecords() error {
	for _, kind := range []struct {
		prefix byte
		read   func(key, value []byte) error
	}{
		{poolPrefix, s.readPool}, {expiredPrefix, s.readExpired}, {settlePrefix, s.readSettling},
		{tokenPrefix, s.readToken}, {historyPrefix, s.readHistory}, {requestPrefix, s.readRequest},
	} {
		if err := s.journal.scan(kind.prefix, kind.read); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) readPool(key, value []byte) error {
	policy, err := decodePolicy(value)
	s.pools[string(key)] = newPool(string(key), s.terms(policy))
	return err
}

func (s *Store) readExpired(key, value []byte) (err error) {
	p := s.pools[string(key)]
	if p == nil {
		return fmt.Errorf("counts of a pool %q that is not there", key)
	}
	p.expired, err = decodeCounts(value)
	return err
}

func (s *Store) readSettling(key, value []byte) error {
	p := s.pools[string(key)]
	if p == nil {
		return fmt.Errorf("the settling of a pool %q that is not there", key)
	}
	var r settlingRecord
	err := json.Unmarshal(value, &r)
	p.policy.Settling, p.longest, p.lasting = r.Settling, r.Longest, r.Lasting
	if r.Until != 0 {
		p.fresh = newIndex()
	}
	return err
}

func (s *Store) readToken(key, value []byte) error {
	p, token, err := s.poolOf(key)
	if err != nil {
		return err
	}
	e, err := decodeEntry(token, value)
	if err != nil {
		return err
	}
	p.tokens[e.value()] = e
	return nil
}

func (s *Store) readHistory(key, value []byte) error {
	p, token, err := s.poolOf(key)
	if err != nil {
		return err
	}
	e := p.tokens[token]
	if e == nil {
		return fmt.Errorf("the history of a token of the pool %q that is not there", p.name)
	}
	if e.past == nil {
		e.past = new(rules.Past)
	}
	e.past.History = rules.History(value)
	return nil
}

func (s *Store) readRequest(key, value []byte) error {
	p, id, err := s.poolOf(key)
	if err != nil {
		return err
	}
	r, err := decodeRequest(value)
	p.requests.set(id, r)
	return err
}

// poolOf returns the pool that a key names, and the rest of the key.
func (s *Store) poolOf(key []byte) (*pool, string, error) {
	name, rest, err := splitKey(key)
	if err != nil {
		return nil, "", err
	}
	if s.pools[name] == nil {
		return nil, "", fmt.Errorf("something of a pool %q that is not there", name)
	}
	return s.pools[name], rest, nil
}

// beginEpoch lifts the fences above all that were issued before this opening, and puts the present version on the
// layout.
func (s *Store) beginEpoch() error {
	issued, err := s.journal.issuedFence()
	if err != nil {
		return err
	}
	s.lastFence = max(issued, fenceAt(s.clock.fresh()))
	s.fenceBound = s.lastFence + fencesReserved
	if err := s.journal.setNow(versionKey, []byte{layoutVersion}, fenceKey, encodeNumber(s.fenceBound)); err != nil {
		return err
	}
	// begins a new file: Pebble began the first one of a directory in its oldest format
	_, err = s.journal.db.AsyncFlush()
	return err
}

// setNow makes a value for each of two keys durable, both at once.
func (j *journal) setNow(key1, value1, key2, value2 []byte) error {
	batch := j.db.NewBatch()
	return errors.Join(batch.Set(key1, value1, nil), batch.Set(key2, value2, nil), batch.Commit(pebble.Sync),
		batch.Close())
}

// get returns the value of a key, or nil if there is none.
func (j *journal) get(key []byte) ([]byte, error) {
	value, closer, err := j.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return append([]byte{}, value...), closer.Close()
}

// scan calls f for each record whose key begins with prefix, with the rest of the key. It says from time to time how
// many there were.
func (j *journal) scan(prefix byte, f func(key, value []byte) error) (err error) {
	i, err := j.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefix}, UpperBound: []byte{prefix + 1}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.Close()) }()
	for i.First(); i.Valid(); i.Next() {
		j.progress.count()
		if err := f(i.Key()[1:], i.Value()); err != nil {
			return err
		}
	}
	return i.Error()
}

// progress tells whoever waits for the start of a large store that it goes on.
type progress struct {
	log     *slog.Logger
	wall    func() time.Time
	records int
	said    time.Time
}

const (
	progressEvery = 5 * time.Second
	progressStep  = 10_000 // records, between two looks at the clock
)

func (p *progress) count() {
	if p.records++; p.records%progressStep != 0 {
		return
	}
	if now := p.wall(); now.Sub(p.said) >= progressEvery {
		p.said = now
		p.log.Info("reading the store", "records", p.records)
	}
}

var _ interface {
	tms.Sweeper
	tms.Queue
	tms.Readier
} = (*Store)(nil)
