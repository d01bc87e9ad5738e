package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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
		if !pool.SettlingUntil.IsZero() {
			lines.addLine("settling until", pool.SettlingUntil.Local().Format(time.DateTime))
		}
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

// policyFlags returns a flag for each field of a policy, in the order in which a person reads them.
func policyFlags() *pflag.FlagSet {
	fs := pflag.NewFlagSet("policy", pflag.ContinueOnError)
	fs.SortFlags = false
	fs.Int("max-tokens", 0, "most tokens in the pool, in any state")
	fs.Duration("lease-ttl", 0, "how long a lease lasts after its assignment and after each keep-alive")
	fs.Duration("token-ttl", 0, "how long a token lives after its last sign of life; 0: for ever")
	fs.Duration("max-lease", 0, "how long a lease may last in all; 0: no limit")
	fs.Duration("max-ttl", 0, "most that assign and keep-alive may ask for; 0: no limit")
	fs.Duration("grace", 0, "how long after its end a lease can be revived, while nobody else gets the token")
	fs.Duration("cooldown", 0, "how long a token rests before it is assigned again")
	fs.String("on-lease-expiry", "",
		"`what` becomes of a token whose holder fell silent: release, delete or quarantine")
	fs.String("selection", "", "`which` token is next: random, fifo or lifo")
	fs.Bool("require-lease-id", false,
		"only who knows the lease_id can keep alive, give back or delete an assigned token")
	fs.Bool("paused", false, "nothing is assigned for now")
	fs.Int("max-leases-per-client", 0, "most tokens that one client_id holds at once; 0: no limit")
	fs.StringSlice("labels", nil, "`keys` of metadata that assign can match, with commas between them")
	fs.Duration("request-ttl", 0, "how long a request with a request_id is remembered")
	fs.Int("history", 0, "how many leases that have ended are remembered of each token; 0: none")
	return fs
}

func newPoolCreate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create POOL",
		Short: "Make a pool",
		Long:  "Make a pool. What no flag names has its default. A pool that exists is left as it is.",
	}
	policy := policyFlags()
	cmd.Flags().AddFlagSet(policy)
	return onPool(cmd, everyForm, func(r *remote) error { return r.putPool("make", policy, tms.IfMissing) })
}

func newPoolSet() *cobra.Command {
	var create bool
	cmd := &cobra.Command{
		Use:   "set POOL",
		Short: "Change the policy of a pool",
		Long:  "Change the policy of a pool, and say what has changed. What no flag names keeps its value.",
	}
	policy := policyFlags()
	cmd.Flags().AddFlagSet(policy)
	cmd.Flags().BoolVar(&create, "create", false, "make the pool if it does not exist")
	return onPool(cmd, everyForm, func(r *remote) error {
		if create {
			return r.putPool("set", policy, tms.IfAny)
		}
		return r.putPool("set", policy, tms.IfExists)
	})
}

// putPool makes or changes the pool as the flags say, and tells what has become of it.
func (r *remote) putPool(what string, policy *pflag.FlagSet, on tms.Condition) error {
	change, err := decodePolicy(r.pool, given(policy))
	if err != nil {
		return usage("%v", err)
	}
	change.If = on
	pool, err := r.PutPool(r.Context(), r.pool, change)
	if err != nil {
		return r.tried(err, "%s the pool %q", what, r.pool)
	}
	lines, err := policyLines(pool)
	if err != nil {
		return err
	}
	if err := r.sayChanges(pool); err != nil {
		return err
	}
	r.warn(pool.Warnings())
	return r.write(api.PoolOf(pool), lines, []string{pool.Name})
}

// sayChanges tells what of the pool's policy is no longer as it was.
func (r *remote) sayChanges(pool tms.Pool) error {
	if pool.Was == nil {
		r.say("the pool %q was made", pool.Name)
		return nil
	}
	was, err := policyFields(*pool.Was)
	if err != nil {
		return err
	}
	is, err := policyFields(pool.Policy)
	if err != nil {
		return err
	}
	changed := false
	policyFlags().VisitAll(func(f *pflag.Flag) {
		key := keyOf(f.Name)
		if before, now := was[key], is[key]; before != now {
			changed = true
			r.say("%s: %s → %s", key, cmp.Or(before, "none"), cmp.Or(now, "none"))
		}
	})
	if !changed {
		r.say("nothing of the pool %q has changed", pool.Name)
	}
	return nil
}

// given returns the flags that were given, as the fields of a policy.
func given(policy *pflag.FlagSet) map[string]any {
	fields := map[string]any{}
	policy.VisitAll(func(f *pflag.Flag) {
		if !f.Changed {
			return
		}
		switch f.Value.Type() {
		case "int", "bool":
			fields[keyOf(f.Name)] = json.RawMessage(f.Value.String())
		case "stringSlice":
			fields[keyOf(f.Name)] = f.Value.(pflag.SliceValue).GetSlice()
		default:
			fields[keyOf(f.Name)] = f.Value.String()
		}
	})
	return fields
}

// policyLines shows a pool's policy with one line for each field.
func policyLines(pool tms.Pool) (table, error) {
	t := table{header: []string{"POOL", pool.Name}}
	fields, err := policyFields(pool.Policy)
	if err != nil {
		return t, err
	}
	policyFlags().VisitAll(func(f *pflag.Flag) {
		key := keyOf(f.Name)
		t.addLine(key, fields[key])
	})
	return t, nil
}

// policyFields returns the values of a policy's fields by their names, as a person reads them.
func policyFields(policy tms.Policy) (map[string]string, error) {
	var text bytes.Buffer
	if err := api.Encode(&text, api.NewPolicy(policy)); err != nil {
		return nil, err
	}
	var fields map[string]any
	if err := json.Unmarshal(text.Bytes(), &fields); err != nil {
		return nil, err
	}
	texts := map[string]string{}
	for name, value := range fields {
		texts[name] = fieldText(value)
	}
	return texts, nil
}

func fieldText(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case []any:
		return strings.Trim(fmt.Sprint(v), "[]")
	case float64:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprint(value)
}
