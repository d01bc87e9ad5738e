package node

import (
	"errors"
	"slices"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/audit"
	"github.com/manankarani/token-manager/internal/store/embedded"
)

// What cannot be written down is refused where that is required, but for what keeps or ends a lease.
func TestAnAuditThatCannotBeWritten(t *testing.T) {
	opened, err := embedded.Open(embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	log, err := audit.Open("/dev/full", audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	g := serveOptions(t, opened, true, Options{Audit: log, Required: true})
	g.admit("boss", time.Time{}, "all")
	c, ctx := g.as("boss"), t.Context()
	_, err = g.Store().Generate(ctx, "default", tms.GenerateRequest{Tokens: make([]tms.NewToken, 2)})
	g.must(err)
	taken, err := g.Store().Assign(ctx, "default", []tms.AssignRequest{{Count: 2}})
	g.must(err)
	keys := []tms.LeaseKey{proofOf(taken[0].Tokens[0])}
	_, failed := c.Delete(ctx, "default", keys)
	_, filled := c.Generate(ctx, "default", tms.GenerateRequest{Tokens: make([]tms.NewToken, 1)})
	_, made := c.PutPool(ctx, "q", tms.PolicyChange{})
	_, _, err = c.Pool(ctx, "default")
	g.must(err)
	refusals := []error{failed, filled, made, c.DeletePool(ctx, "q")}
	if slices.ContainsFunc(refusals, func(err error) bool { return tms.CodeOf(err) != tms.ErrStoreUnavailable }) {
		t.Errorf("what is not written down is done: %v", refusals)
	}
	kept, err := c.KeepAlive(ctx, "default", keys)
	g.must(errors.Join(err, kept[0].Err))
	back, err := c.Unblock(ctx, "default", keys)
	g.must(errors.Join(err, back[0].Err))
	if _, stats, err := g.Store().Pool(ctx, "default"); err != nil || stats.Assigned != 1 || stats.Available != 1 {
		t.Errorf("%+v, error %v", stats, err)
	}
}
