package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	tms "github.com/manankarani/token-manager"
)

// load opens the log in o.Dir, reads the state back and begins a new epoch.
func (s *Store) load(o Options) error {
	j, err := openJournal(o, &s.mu)
	if err != nil {
		return err
	}
	s.journal = j
	if err := errors.Join(s.read(), s.beginEpoch()); err != nil {
		return errors.Join(fmt.Errorf("reading %s: %w", o.Dir, err), j.closeDB())
	}
	j.start()
	return nil
}

func openJournal(o Options, lock sync.Locker) (*journal, error) {
	logger := o.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	held, err := pebble.LockDirectory(o.Dir, diskFS)
	if err != nil {
		return nil, notLocked(o.Dir, err)
	}
	j := newJournal(o, lock)
	j.held = held
	if err := j.openDB(o.Dir, pebbleOptions(j, logger)); err != nil {
		return nil, fmt.Errorf("opening %s: %w", o.Dir, err)
	}
	return j, nil
}

// notLocked says why the directory could not be locked.
func notLocked(dir string, err error) error {
	if file := new(fs.PathError); errors.As(err, &file) {
		return fmt.Errorf("locking the data directory: %w", err)
	}
	return fmt.Errorf("the data directory %s is in use by another process: %w", dir, err)
}

// openDB opens the log. Pebble repeats what fails on the disk for ever while it opens, on a full disk for example. Then
// this returns what failed, and Pebble closes the log when it gets through after all.
func (j *journal) openDB(dir string, o *pebble.Options) error {
	opened := make(chan error, 1)
	go func() {
		db, err := pebble.Open(dir, o)
		j.db = db
		opened <- err
	}()
	select {
	case err := <-opened:
		return j.unlockIf(err)
	case <-j.failed:
		go func() {
			if j.unlockIf(<-opened) == nil {
				j.closeDB()
			}
		}()
		return j.cause
	}
}

// unlockIf gives up the directory if there is an error, which it returns.
func (j *journal) unlockIf(err error) error {
	if err == nil {
		return nil
	}
	return errors.Join(err, j.held.Close())
}

// pebbleOptions returns what differs from Pebble's defaults: every record is read once, at the start, so that neither
// caches nor filters would earn their keep.
func pebbleOptions(j *journal, logger *slog.Logger) *pebble.Options {
	return &pebble.Options{
		FS:                 j.disk,
		Lock:               j.held,
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
		return fmt.Errorf("its layout is version %d, this program reads version %d to %d", version, oldestVersion, layoutVersion)
	}
	err = errors.Join(
		s.journal.scan(poolPrefix, s.readPool),
		s.journal.scan(expiredPrefix, s.readExpired),
		s.journal.scan(tokenPrefix, s.readToken),
		s.journal.scan(requestPrefix, s.readRequest),
	)
	for _, p := range s.pools {
		p.restore()
	}
	return err
}

func (s *Store) readPool(key, value []byte) error {
	policy, err := decodePolicy(value)
	s.pools[string(key)] = newPool(string(key), policy)
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

func (s *Store) readToken(key, value []byte) error {
	p, token, err := s.poolOf(key)
	if err != nil {
		return err
	}
	record, err := decodeRecord(value)
	if err != nil {
		return err
	}
	p.tokens[token] = &entry{value: token, record: record}
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

// beginEpoch lifts the fences above all that were issued before this opening, and puts the present version on the layout.
func (s *Store) beginEpoch() error {
	if err := s.journal.db.Set(versionKey, []byte{layoutVersion}, pebble.Sync); err != nil {
		return err
	}
	stored, err := s.journal.get(epochKey)
	if err != nil {
		return err
	}
	epoch := decodeEpoch(stored) + 1
	s.lastFence = epoch << epochBits
	if err := s.journal.db.Set(epochKey, encodeEpoch(epoch), pebble.Sync); err != nil {
		return err
	}
	_, err = s.journal.db.AsyncFlush() // begins a new file: Pebble began the first one of a directory in its oldest format
	return err
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

// scan calls f for each record whose key begins with prefix, with the rest of the key.
func (j *journal) scan(prefix byte, f func(key, value []byte) error) (err error) {
	i, err := j.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefix}, UpperBound: []byte{prefix + 1}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.Close()) }()
	for i.First(); i.Valid(); i.Next() {
		if err := f(i.Key()[1:], i.Value()); err != nil {
			return err
		}
	}
	return i.Error()
}

var _ interface {
	tms.Store
	tms.Queue
	tms.Readier
} = (*Store)(nil)
