package embedded

import (
	"testing"

	tms "github.com/manankarani/token-manager"
)

// A step that panics, which is a defect that a server of HTTP survives, does not lock the others out.
func TestAPanicLeavesTheStoreUnlocked(t *testing.T) {
	s := open(t, Options{})
	func() {
		defer func() { _ = recover() }()
		_ = s.do(t.Context(), tms.DefaultPool, func(*step) error { panic("a defect") })
	}()
	fill(t, s, 1)
	take(t, s, 1)
}
