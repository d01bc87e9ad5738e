package redistest

import (
	_ "embed"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

//go:embed testdata/clock.c
var clockSource []byte

// Clock is the wall clock of a Redis server, which a test can set.
type Clock struct {
	t    testing.TB
	file string
}

// NewWithClock starts a Redis server, as [New] does, whose wall clock can be set. It needs a C compiler.
func NewWithClock(t testing.TB, args ...string) (*Server, *Clock) {
	t.Helper()
	dir := t.TempDir()
	source, library := filepath.Join(dir, "clock.c"), filepath.Join(dir, "clock.so")
	clock := &Clock{t, filepath.Join(dir, "offset")}
	if err := os.WriteFile(source, clockSource, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("gcc", "-shared", "-fPIC", "-O1", "-o", library, source).CombinedOutput()
	if err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	clock.Set(0)
	s := prepare(t, args)
	s.env = append(os.Environ(), "LD_PRELOAD="+library, "TMS_TEST_CLOCK="+clock.file)
	s.Start()
	return s, clock
}

// Set lets the clock be ahead of the real one by so much.
func (c *Clock) Set(ahead time.Duration) {
	c.t.Helper()
	f, err := os.OpenFile(c.file, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(binary.NativeEndian.AppendUint64(nil, uint64(ahead.Microseconds()))); err != nil {
		c.t.Fatal(err)
	}
}
