package main

import (
	"strconv"

	"github.com/spf13/cobra"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

var states = []string{string(tms.Available), string(tms.Assigned), string(tms.Cooling), string(tms.Quarantined)}

func newLookup() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lookup TOKEN",
		Short: "Show a token: its state, who holds it, since when, and what was before",
		Args:  cobra.ExactArgs(1),
	}
	return asksPool(cmd, everyForm, func(r *remote, args []string) error {
		if err := tms.ValidateToken("TOKEN", args[0]); err != nil {
			return usage("%v", err)
		}
		token, err := r.Token(r.Context(), r.pool, args[0])
		if err != nil {
			return r.asked(err, "look up %q in the pool %q", args[0], r.pool)
		}
		return r.write(api.TokenOf(token), lookupTable(api.TokenOf(token)), []string{token.Value})
	})
}

// lookupTable shows a token with one line for each part of it.
func lookupTable(t api.Token) table {
	all := table{header: []string{"TOKEN", t.Token}}
	for i, cell := range tokenRow(t) {
		all.addLine(tokenHeader[i], cell)
	}
	if t.Past != nil {
		all.addLine("ASSIGNED", strconv.FormatInt(t.Past.AssignedCount, 10)+" times")
		all.addLine("EXPIRED", strconv.FormatInt(t.Past.ExpiredCount, 10)+" times")
		all.addLine("LAST CLIENT", t.Past.LastClientID)
		all.addLine("LAST CHANGE", instant(t.Past.Since))
	}
	return all
}

func (t *table) addLine(name, value string) {
	if value != "" && name != t.header[0] {
		t.rows = append(t.rows, []string{name, value})
	}
}

func newTokens() *cobra.Command {
	var filter tms.Filter
	var state string
	var limit int
	cmd := &cobra.Command{
		Use:   "tokens",
		Short: "List the tokens of a pool",
		Args:  cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.StringVarP(&state, "state", "s", "", "only those in this `state`: available, assigned, cooling or quarantined")
	flags.StringVarP(&filter.ClientID, "client-id", "c", "", "only those that the client with this `ID` holds")
	flags.IntVarP(&limit, "limit", "n", api.MaxPage, "at most so many; 0: all")
	cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(states, cobra.ShellCompDirectiveNoFileComp))
	return asksPool(cmd, everyForm, func(r *remote, _ []string) error {
		if err := oneOf("--state", state, states...); state != "" && err != nil {
			return usage("%v", err)
		}
		if limit < 0 {
			return usage("--limit: must not be negative")
		}
		filter.State = tms.State(state)
		return r.list(filter, limit)
	})
}

func (r *remote) list(filter tms.Filter, limit int) error {
	tokens, cursor := []api.Token{}, ""
	for {
		page, err := r.Tokens(r.Context(), r.pool, filter, cursor, api.MaxPage)
		if err != nil {
			return r.asked(err, "list the tokens of the pool %q", r.pool)
		}
		for _, token := range page.Tokens {
			tokens = append(tokens, api.TokenOf(token))
		}
		cursor = page.Next
		if cursor == "" || limit > 0 && len(tokens) >= limit {
			break
		}
	}
	if limit > 0 && (len(tokens) > limit || cursor != "") {
		tokens = tokens[:min(limit, len(tokens))]
		r.say("there may be more; --limit 0 shows all, and tms export writes them for programs")
	}
	return r.write(api.Tokens{Tokens: tokens}, tokenTable(tokens), tokenNames(tokens))
}
