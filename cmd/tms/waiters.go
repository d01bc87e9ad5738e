package main

import (
	"strconv"

	"github.com/spf13/cobra"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

func newWaiters() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "waiters",
		Short: "List who waits for tokens of a pool, since when, and for what",
		Args:  cobra.NoArgs,
	}
	return asksPool(cmd, []string{formTable, formJSON}, func(r *remote, _ []string) error {
		all, err := r.Waiters(r.Context(), r.pool, api.MaxPage)
		if err != nil {
			return r.asked(err, "list who waits in the pool %q", r.pool)
		}
		if len(all) == api.MaxPage {
			r.say("there may be more")
		}
		return r.write(api.WaitersOf(all), r.waiterTable(all), nil)
	})
}

func (r *remote) waiterTable(all []tms.Waiter) table {
	t := table{header: []string{"PLACE", "CLIENT", "SINCE", "COUNT", "MATCH"}}
	for _, w := range all {
		who := tms.OwnerText(tms.Owned(w.Holder, w.ClientID))
		t.rows = append(t.rows, []string{strconv.Itoa(w.Place), who, r.instant(api.Time{Time: w.Since}),
			strconv.Itoa(w.Count), pairs(w.Match)})
	}
	return t
}
