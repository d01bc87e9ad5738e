package main

import (
	"bufio"
	"context"
	"errors"
	"strconv"

	"github.com/spf13/cobra"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

var states = []string{string(tms.Available), string(tms.Assigned), string(tms.Cooling), string(tms.Quarantined)}

func newLookup() *cobra.Command {
	var key tms.LeaseKey
	cmd := &cobra.Command{
		Use:   "lookup TOKEN...",
		Short: "Show tokens: their state, who holds them, since when, and what was before",
		Long: "Show tokens: one with a line for each part of it, what was before included, several as a table.\n" +
			fromInput,
		Args: cobra.MinimumNArgs(1),
	}
	addLeaseID(cmd, &key)
	return asksPool(cmd, everyForm, func(r *remote, args []string) error {
		values, err := r.values(args, existing{})
		if err != nil {
			return err
		}
		if err := ofOneLease(key, values); err != nil {
			return err
		}
		return r.lookup(keysOf(values, key), len(args) == 1 && len(values) == 1)
	})
}

// lookup looks tokens up, one after the other, shows those that there are, and returns the refusals.
func (r *remote) lookup(keys []tms.LeaseKey, single bool) error {
	var answer api.Results
	var failures []error
	for _, key := range keys {
		token, err := r.Token(r.Context(), r.pool, key)
		if err != nil {
			failures = append(failures, r.askedOf(key.Token, err, "look up"))
		}
		if err != nil && tms.CodeOf(err) == "" {
			break
		}
		answer.Results = append(answer.Results, r.result(tms.TokenResult{Token: token, Err: err}, api.TokenOf))
	}
	if single && len(failures) == 0 {
		token := *answer.Results[0].Token
		return r.write(token, r.lookupTable(token), []string{token.Token})
	}
	return errors.Join(append(failures, r.writeResults(answer, single))...)
}

// lookupTable shows a token with one line for each part of it.
func (r *remote) lookupTable(t api.Token) table {
	all := table{header: []string{"TOKEN", t.Token}}
	for i, cell := range r.tokenRow(t) {
		all.addLine(tokenHeader[i], cell)
	}
	if t.Past != nil {
		all.addLine("ASSIGNED", strconv.FormatInt(t.Past.AssignedCount, 10)+" times")
		all.addLine("EXPIRED", strconv.FormatInt(t.Past.ExpiredCount, 10)+" times")
		all.addLine("LAST CLIENT", t.Past.LastClientID)
		all.addLine("LAST CHANGE", r.instant(t.Past.Since))
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
		Use: "tokens", Aliases: []string{"ls", "list"},
		Short: "List the tokens of a pool",
		Args:  cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.StringVarP(&state, "state", "s", "",
		"only those in this `state`: available, assigned, cooling or quarantined")
	flags.StringVarP(&filter.ClientID, "client-id", "c", "", "only those that the client with this `ID` holds")
	flags.IntVarP(&limit, "limit", "n", api.MaxPage, "at most so many; 0: all")
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
	if len(tokens) > 0 && tokens[0].Masked {
		r.say("the key may only watch, and sees masks in the place of tokens")
	}
	return r.write(api.Tokens{Tokens: tokens}, r.tokenTable(tokens), tokenNames(tokens))
}

func newExport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write all tokens of a pool, for tms import",
		Long: "Write all tokens of a pool to standard output, each as a line of JSON with its metadata and state, " +
			"as\n" +
			"tms import reads them, or with -o name its value alone.",
		Args: cobra.NoArgs,
	}
	return asksPool(cmd, []string{formJSON, formName}, func(r *remote, _ []string) error {
		ctx, stop := interruptible(r.Context())
		defer stop()
		out := bufio.NewWriter(r.OutOrStdout())
		n, err := r.export(ctx, out)
		if err := out.Flush(); err != nil {
			return err
		}
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return interrupted(ctx, r.asked(err, "export the pool %q, after %s", r.pool, countOf(int(n), "token")))
		}
		r.say("%s exported from the pool %q", countOf(int(n), "token"), r.pool)
		return nil
	})
}

// export writes the tokens and returns how many there were.
func (r *remote) export(ctx context.Context, out *bufio.Writer) (n int64, err error) {
	_, stats, err := r.Pool(ctx, r.pool)
	if err != nil {
		return 0, err
	}
	line := r.progress("export")
	if isTerminal(r.OutOrStdout()) { // which shows how far it is
		line = nil
	}
	defer line.end()
	for cursor := ""; ; {
		page, err := r.Tokens(ctx, r.pool, tms.Filter{}, cursor, api.MaxPage)
		if err != nil {
			return n, err
		}
		if err := r.writeExport(out, page.Tokens); err != nil {
			return n, err
		}
		n += int64(len(page.Tokens))
		line.show(n, int64(stats.Total()), "tokens")
		if cursor = page.Next; cursor == "" {
			return n, nil
		}
	}
}

// exportLine is a token as export writes it.
type exportLine struct {
	Token    string            `json:"token"`
	Metadata map[string]string `json:"metadata,omitzero"`
	State    tms.State         `json:"state"`
}

func (r *remote) writeExport(out *bufio.Writer, tokens []tms.Token) error {
	for _, t := range tokens {
		if t.Masked {
			return tms.Refuse(tms.ErrNotPermitted, "the key may only watch, and sees masks in the place of tokens")
		}
		var err error
		if r.output == formName {
			err = writeLines(out, []string{t.Value})
		} else {
			err = writeJSON(out, exportLine{t.Value, t.Metadata, t.State})
		}
		if err != nil {
			return err
		}
	}
	return nil
}
