package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
)

// check refuses a directory whose logs, or whose list of files, are not what they were when they were synced. Where
// syncs were put off, a log may have holes behind what was synced; its end is cut there, since Pebble would not read
// it.
func (v *survey) check() error {
	if wrong := v.list.damage(true, false); wrong != "" && v.list.name != "" {
		return fmt.Errorf("%s, and cannot be mended: restore a backup", wrong)
	}
	if v.marks.synced[marksName] > 0 {
		return v.repairable(errMarks.Error())
	}
	for _, l := range v.logs {
		if wrong := v.damage(l); wrong != "" {
			return v.repairable(wrong)
		}
		if l.broken {
			return v.cut(l)
		}
	}
	return nil
}

// damage says what is wrong with one of the logs, or nothing.
func (v *survey) damage(l logState) string {
	return l.damage(l.name == v.logs[len(v.logs)-1].name, v.marks.deferred)
}

func (v *survey) repairable(wrong string) error {
	return fmt.Errorf("%s: restore a backup, or have \"tms repair %s\" cut off what stands from there on", wrong, v.dir)
}

// cut shortens a log to what can be read of it.
func (v *survey) cut(l logState) error {
	path := filepath.Join(v.dir, l.name)
	if err := os.Truncate(path, l.whole); err != nil {
		return err
	}
	return syncFile(path)
}

// syncFile makes durable what was done to a file.
func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// syncDir makes durable what was made or removed in a directory, where that takes something.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Repair cuts the log in a data directory off at its first damage, so that a store can be opened there again: it then
// knows nothing of what was done from there on. It returns what it found and did, in lines for a person, none if
// nothing was wrong. It fails if the directory is in use, or if something is damaged that it cannot cut; then nothing
// has changed.
func Repair(dir string) (did []string, err error) {
	if err := onlyOurs(dir); err != nil {
		return nil, err
	}
	held, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	v, err := lookAt(dir)
	if err == nil {
		did, err = v.repair()
	}
	if err != nil {
		return nil, fmt.Errorf("repairing %s: %w", dir, err)
	}
	return did, nil
}

// repair cuts the first damaged log. The logs after it go with what was cut: they say what was done later.
func (v *survey) repair() (did []string, err error) {
	if wrong := v.list.damage(true, false); v.list.name != "" && wrong != "" {
		return nil, errors.New(wrong + ", and cannot be mended: restore a backup")
	}
	if v.marks.synced[marksName] > 0 {
		did = append(did, errMarks.Error()+": written anew")
	}
	if bad := slices.IndexFunc(v.logs, func(l logState) bool { return v.damage(l) != "" }); bad >= 0 {
		cut, err := v.cutFrom(bad)
		if did = append(did, cut...); err != nil {
			return nil, err
		}
	}
	if len(did) == 0 {
		return nil, nil
	}
	return did, errors.Join(markPutBack(v.dir), v.writeMarks()) // what was cut off may have been answered
}

// cutFrom cuts the log and removes those after it.
func (v *survey) cutFrom(bad int) (did []string, err error) {
	did = append(did, v.damage(v.logs[bad]))
	for _, later := range v.logs[bad+1:] {
		if later.there {
			did = append(did, later.name+", which came after it, is removed")
			err = errors.Join(err, os.Remove(filepath.Join(v.dir, later.name)))
		}
	}
	l := v.logs[bad]
	if v.logs = v.logs[:bad]; l.there {
		v.logs = append(v.logs, l)
		did = append(did, fmt.Sprintf("%s is cut to %d bytes", l.name, l.whole))
		err = errors.Join(err, v.cut(l))
	}
	return did, errors.Join(err, syncDir(v.dir))
}

// writeMarks writes the marks anew: what can be read now is what there is.
func (v *survey) writeMarks() error {
	m := &marks{synced: map[string]int64{}}
	if v.list.there {
		m.synced[v.list.name] = v.list.whole
	}
	for _, l := range v.logs {
		m.synced[l.name] = l.whole
	}
	if err := m.open(diskFS, v.dir, v.marks.deferred); err != nil {
		return err
	}
	return m.close()
}
