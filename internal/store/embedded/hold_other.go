//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package embedded

import "io"

// holdDirectory does nothing where an open file, as that of the lock, cannot be removed.
func holdDirectory(string) (io.Closer, error) { return nothingHeld{}, nil }

type nothingHeld struct{}

func (nothingHeld) Close() error { return nil }

func holderOf(string) string { return "" }
