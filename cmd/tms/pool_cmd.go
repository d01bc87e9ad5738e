package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

func newPools() *cobra.Command {
	cmd := &cobra.Command{Use: "pools", Short: "List the pools, and how many tokens they have", Args: cobra.NoArgs}
	return asksServer(cmd, everyForm, func(r *remote, _ []string) error {
		pools, names := []api.Pool{}, []string{}
		for next, more := "", true; more; more = next != "" {
			page, err := r.Pools(r.Context(), next, api.MaxPage)
			if err != nil {
				return r.asked(err, "list the pools")
			}
			for _, p := range page.Pools {
				pools, names = append(pools, api.PoolStatsOf(p.Pool, p.Stats)), append(names, p.Name)
			}
			next = page.Next
		}
		return r.write(api.Pools{Pools: pools}, poolTable(pools), names)
	})
}

func poolTable(pools []api.Pool) table {
	t := table{header: []string{"POOL", "AVAILABLE", "ASSIGNED", "COOLING", "QUARANTINED", "TOTAL", "WAITING"}}
	for _, p := range pools {
		row := []string{p.Pool}
		n := p.Tokens
		for _, n := range []int{n.Available, n.Assigned, n.Cooling, n.Quarantined, n.Total, *p.Waiting} {
			row = append(row, strconv.Itoa(n))
		}
		t.rows = append(t.rows, row)
	}
	return t
}

func newPool() *cobra.Command {
	cmd := &cobra.Command{Use: "pool", Short: "Make, change, show or remove a pool"}
	return withCommands(cmd, newPoolCreate(), newPoolSet(), newPoolShow(), newPoolRemove())
}

// onPool is asksServer for a command whose argument is a pool.
func onPool(cmd *cobra.Command, forms []string, run func(r *remote) error) *cobra.Command {
	cmd.Args, cmd.ValidArgsFunction = cobra.ExactArgs(1), completePool
	return asksServer(cmd, forms, func(r *remote, args []string) error {
		if err := tms.ValidatePoolName("POOL", args[0]); err != nil {
			return usage("%v", err)
		}
		r.pool = args[0]
		return run(r)
	})
}

func newPoolShow() *cobra.Command {
	cmd := &cobra.Command{Use: "show POOL", Short: "Show a pool's policy, and how many tokens it has"}
	return onPool(cmd, everyForm, func(r *remote) error {
		pool, stats, err := r.Pool(r.Context(), r.pool)
		if err != nil {
			return r.asked(err, "show the pool %q", r.pool)
		}
		lines, err := policyLines(pool)
		if err != nil {
			return err
		}
		lines.addStats(stats)
		return r.write(api.PoolStatsOf(pool, stats), lines, []string{pool.Name})
	})
}

func (t *table) addStats(stats tms.Stats) {
	for _, line := range []struct {
		name string
		n    int
	}{
		{"available", stats.Available},
		{"assigned", stats.Assigned},
		{"cooling", stats.Cooling},
		{"quarantined", stats.Quarantined},
		{"waiting", stats.Waiting},
		{"expired leases", int(stats.Expired.Released + stats.Expired.Quarantined)},
		{"expired tokens", int(stats.Expired.Deleted)},
	} {
		t.addLine(line.name, strconv.Itoa(line.n))
	}
}

func newPoolRemove() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "rm POOL",
		Short: "Remove a pool with all its tokens and leases, for good",
	}
	addYes(cmd, &yes)
	return onPool(cmd, everyForm, func(r *remote) error {
		if err := r.confirm(yes, "%s", r.removal()); err != nil {
			return err
		}
		if err := r.DeletePool(r.Context(), r.pool); err != nil {
			return r.tried(err, "remove the pool %q", r.pool)
		}
		r.say("the pool %q is gone", r.pool)
		answer := api.PoolDeleted{Pool: r.pool, Deleted: true}
		return r.write(answer, table{header: []string{"POOL", "STATE"}, rows: [][]string{{r.pool, "deleted"}}},
			[]string{r.pool})
	})
}

// removal asks the question of the removal, with what would be lost where the server says it.
func (r *remote) removal() string {
	question := fmt.Sprintf("Remove the pool %q with all its tokens for good", r.pool)
	if !isTerminal(r.InOrStdin()) {
		return question
	}
	if _, stats, err := r.Pool(r.Context(), r.pool); err == nil {
		question = fmt.Sprintf("Remove the pool %q with its %s, of which %d are assigned, for good", r.pool,
			countOf(stats.Total(), "token"), stats.Assigned)
	}
	return question
}
