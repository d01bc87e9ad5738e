package node

import (
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
)

// The history of a token says who held it, and which key ended a lease by force. With the lease_id nobody does, nor
// where a holder gives back what is its own.
func TestTheHistorySaysWhoUsedForce(t *testing.T) { onEachStore(t, theHistorySaysWhoUsedForce) }

func theHistorySaysWhoUsedForce(t *testing.T, g *guarded) {
	ctx, pool := t.Context(), "p"
	_, err := g.Store().PutPool(ctx, pool, tms.PolicyChange{})
	g.must(err)
	_, err = g.Store().Generate(ctx, pool, tms.GenerateRequest{Tokens: []tms.NewToken{{Value: "a"}}})
	g.must(err)
	g.admit("ci", time.Time{}, "hold")
	g.admit("boss", time.Time{}, "run")
	g.admit("eye", time.Time{}, "watch")
	for _, end := range []struct {
		key   string
		force bool
	}{{"ci", false}, {"boss", true}, {"boss", false}} {
		results, err := g.as("ci").Assign(ctx, pool, []tms.AssignRequest{{ClientID: "job"}})
		g.must(err)
		g.must(results[0].Err)
		key := tms.LeaseKey{Token: "a"}
		if !end.force {
			key.LeaseID = results[0].Tokens[0].Lease.ID
		}
		ended, err := g.as(end.key).Unblock(ctx, pool, []tms.LeaseKey{key})
		g.must(err)
		g.must(ended[0].Err)
		seen, err := g.as("eye").Token(ctx, pool, tms.LeaseKey{Token: "a", History: true})
		g.must(err)
		want := map[bool]string{true: "boss"}[end.force]
		last := seen.Past.Ended[0]
		if last.By != want || last.Holder != "ci" || last.ClientID != "job" || last.End != tms.EndReleased {
			t.Errorf("%+v is told as %+v", end, last)
		}
	}
}
