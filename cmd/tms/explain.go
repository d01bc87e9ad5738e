package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

func newExplain() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain TOKEN",
		Short: "Say in words who holds a token, since when, and how its last leases ended",
		Long: "Say in words who holds a token, since when, and how its last leases ended, the last one first.\n" +
			"The pool remembers as many as its history says.",
		Args: cobra.ExactArgs(1),
	}
	return asksPool(cmd, []string{formTable, formJSON}, func(r *remote, args []string) error {
		token, err := r.Token(r.Context(), r.pool, tms.LeaseKey{Token: args[0], History: true})
		if err != nil {
			return r.askedOf(args[0], err, "explain")
		}
		if view := api.TokenOf(token); r.output == formJSON {
			return writeJSON(r.OutOrStdout(), view)
		}
		return writeLines(r.OutOrStdout(), r.explain(token))
	})
}

// explain returns what is to be said of a token, a sentence on each line.
func (r *remote) explain(t tms.Token) []string {
	lines := []string{fmt.Sprintf("%s of the pool %q %s.", t.Value, t.Pool, r.stands(t))}
	switch past := t.Past; {
	case past.Assigned == 0:
		return append(lines, "It was never assigned.")
	case past.Expired > 0:
		lines = append(lines, fmt.Sprintf("It was assigned %s; %s expired.", times(past.Assigned),
			countOf(int(past.Expired), "lease")))
	default:
		lines = append(lines, fmt.Sprintf("It was assigned %s.", times(past.Assigned)))
	}
	for _, lease := range t.Past.Ended {
		lines = append(lines, "  "+r.told(lease))
	}
	return lines
}

// stands says how a token stands.
func (r *remote) stands(t tms.Token) string {
	switch {
	case t.Lease != nil && t.Lease.AssignedAt.IsZero():
		return fmt.Sprintf("is on its way to %s, who waited for it", someone(t.Lease.Who()))
	case t.Lease != nil:
		return fmt.Sprintf("is held by %s since %s, with the fence %d; unless it is kept alive, until %s",
			someone(t.Lease.Who()), r.when(t.Past.Since), t.Lease.Fence, r.when(t.Lease.ExpiresAt))
	case t.State == tms.Cooling:
		return fmt.Sprintf("rests until %s", r.when(t.ReadyAt))
	case t.State == tms.Quarantined:
		return fmt.Sprintf("is put aside since %s", r.when(t.Past.Since))
	case t.Past.Since.IsZero():
		return "is available"
	}
	return fmt.Sprintf("is available since %s", r.when(t.Past.Since))
}

// told says how a lease ended.
func (r *remote) told(l tms.PastLease) string {
	who := someone(tms.OwnerText(tms.Owned(l.Holder, l.ClientID)))
	return fmt.Sprintf("%s held it for %s, until %s, with the fence %d; %s", who, roughly(l.EndedAt.Sub(l.AssignedAt)),
		r.when(l.EndedAt), l.Fence, howItEnded(l))
}

func howItEnded(l tms.PastLease) string {
	does := map[tms.End]string{tms.EndReleased: "gave it back", tms.EndQuarantined: "put it aside"}[l.End]
	switch {
	case l.End == tms.EndExpired:
		return fmt.Sprintf("it expired, %s after its last sign of life", roughly(l.EndedAt.Sub(l.RenewedAt)))
	case l.By != "":
		return fmt.Sprintf("the key %q %s, by force", l.By, does)
	}
	return "its holder " + does
}

// when writes an instant in a sentence: at a terminal by the machine's clock, and how long ago, otherwise in UTC.
func (r *remote) when(at time.Time) string {
	if isTerminal(r.OutOrStdout()) {
		return fmt.Sprintf("%s (%s)", at.Local().Format(time.DateTime), ago(time.Since(at)))
	}
	return at.UTC().Format("2006-01-02T15:04:05Z")
}

func someone(name string) string {
	if name == "" {
		return "somebody without a name"
	}
	return name
}

func times(n int64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// roughly returns a duration without what nobody reads.
func roughly(d time.Duration) api.Duration {
	if d < 10*time.Second {
		return api.Duration(d.Round(time.Millisecond))
	}
	return api.Duration(d.Round(time.Second))
}
