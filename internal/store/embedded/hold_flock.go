//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package embedded

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// holdDirectory holds the directory itself, which nobody can take away from under a server as they can a file in it.
// Some network file systems cannot hold a directory; there the file has to do.
func holdDirectory(dir string) (io.Closer, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		f.Close()
		return nil, err
	}
	return f, nil
}

// holderOf returns " (pid 7)" of the process that holds the directory, or "" where the system does not say.
func holderOf(dir string) string {
	info, err := os.Stat(dir)
	if err != nil {
		return ""
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	locks, err := os.ReadFile("/proc/locks")
	if !ok || err != nil {
		return ""
	}
	for line := range strings.Lines(string(locks)) { // such as "1: FLOCK  ADVISORY  WRITE 7 fe:00:9978330 0 EOF"
		f := strings.Fields(line)
		if len(f) > 5 && f[1] == "FLOCK" && strings.HasSuffix(f[5], fmt.Sprintf(":%d", stat.Ino)) && f[4] != "0" {
			return " (pid " + f[4] + ")"
		}
	}
	return ""
}
