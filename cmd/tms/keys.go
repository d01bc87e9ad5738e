package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

// verb is an operation of a store on keys.
type verb = func(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error)

// onKeys carries out a verb on tokens, in batches, writes what became of them as they are shown, and returns the
// refusals.
func (r *remote) onKeys(what string, args []string, key tms.LeaseKey, do verb, shown func(tms.Token) api.Token) error {
	values, err := r.values(args, existing{})
	if err != nil {
		return err
	}
	if err := ofOneLease(key, values); err != nil {
		return err
	}
	var answer api.Results
	var failures []error
	for batch := range slices.Chunk(values, tms.MaxBatch) {
		results, err := do(r.Context(), r.pool, keysOf(batch, key))
		if err != nil {
			failures = append(failures, r.tried(err, "%s %s of the pool %q", what, listed(batch), r.pool))
			break
		}
		for i, result := range results {
			answer.Results = append(answer.Results, r.result(result, shown))
			if result.Err != nil {
				failures = append(failures, r.triedOn(batch[i], result.Err, what))
			}
		}
	}
	return errors.Join(append(failures, r.writeResults(answer, len(args) == 1 && len(values) == 1))...)
}

// ofOneLease refuses a lease_id for several tokens.
func ofOneLease(key tms.LeaseKey, values []string) error {
	if key.LeaseID != "" && len(values) != 1 {
		return usage("--lease-id: is of one lease, but there are %d tokens", len(values))
	}
	return nil
}

func (r *remote) triedOn(token string, err error, what string) error {
	return &failure{what: fmt.Sprintf("%s %q of the pool %q", what, token, r.pool), pool: r.pool, token: token,
		err: err}
}

// askedOf is triedOn for what changes nothing.
func (r *remote) askedOf(token string, err error, what string) error {
	return &failure{what: fmt.Sprintf("%s %q in the pool %q", what, token, r.pool), pool: r.pool, token: token,
		reads: true, err: err}
}

func keysOf(values []string, key tms.LeaseKey) []tms.LeaseKey {
	keys := make([]tms.LeaseKey, len(values))
	for i, value := range values {
		keys[i], keys[i].Token = key, value
	}
	return keys
}

func (r *remote) result(result tms.TokenResult, shown func(tms.Token) api.Token) api.Result {
	if result.Err != nil {
		return api.Result{Problem: api.NewProblem(result.Err)}
	}
	token := shown(result.Token)
	return api.Result{Token: &token}
}

// writeResults writes the tokens, and as JSON the refusals in their places as well. One token that was asked for alone
// is a document of its own.
func (r *remote) writeResults(answer api.Results, single bool) error {
	var done []api.Token
	for _, result := range answer.Results {
		if result.Token != nil {
			done = append(done, *result.Token)
		}
	}
	switch {
	case len(done) == 0 && (single || r.output != formJSON):
		return nil
	case single:
		return r.write(done[0], r.tokenTable(done), tokenNames(done))
	}
	return r.write(answer, r.tokenTable(done), tokenNames(done))
}

// listed names one token, and counts several.
func listed(tokens []string) string {
	if len(tokens) == 1 && tokens[0] != "-" {
		return fmt.Sprintf("%q", tokens[0])
	}
	if slices.Contains(tokens, "-") {
		return "the tokens of standard input"
	}
	return countOf(len(tokens), "token")
}

func newDelete() *cobra.Command {
	var key tms.LeaseKey
	var yes bool
	cmd := &cobra.Command{
		Use:   "delete TOKEN...",
		Short: "Delete tokens for good, whoever holds them",
		Long: "Delete tokens for good, in whatever state they are, and with them their leases. It asks before. " +
			fromInput,
		Args: cobra.MinimumNArgs(1),
	}
	addLeaseID(cmd, &key)
	addYes(cmd, &yes)
	return asksPool(cmd, everyForm, func(r *remote, args []string) error {
		return r.takeAway("Delete %s of the pool %q for good, and take it from %s", args, key, yes, func() error {
			return r.onKeys("delete", args, key, r.deleteKeys, func(t tms.Token) api.Token {
				return api.Token{Pool: t.Pool, Token: t.Value, Deleted: true}
			})
		})
	})
}

func (r *remote) deleteKeys(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	errs, err := r.Delete(ctx, pool, keys)
	results := make([]tms.TokenResult, len(errs))
	for i, err := range errs {
		results[i] = tms.TokenResult{Token: tms.Token{Pool: pool, Value: keys[i].Token}, Err: err}
	}
	return results, err
}

func newQuarantine() *cobra.Command {
	key := tms.LeaseKey{Quarantine: true}
	var yes bool
	cmd := &cobra.Command{
		Use:   "quarantine TOKEN...",
		Short: "Put tokens aside, because they are broken",
		Long: "Put tokens aside, because they are broken; tms restore brings them back. Whoever holds one of them " +
			"loses it,\n" +
			"and tms asks before, unless --lease-id says that it is the holder who does so. " + fromInput,
		Args: cobra.MinimumNArgs(1),
	}
	addLeaseID(cmd, &key)
	addYes(cmd, &yes)
	return asksPool(cmd, everyForm, func(r *remote, args []string) error {
		return r.takeAway("Put %s of the pool %q aside, and take it from %s", args, key, yes || key.LeaseID != "",
			func() error {
				return r.onKeys("put aside", args, key, r.Unblock, api.TokenOf)
			})
	})
}

func newRestore() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore TOKEN... | FILE DIR | --mark DIR",
		Short: "Bring tokens that were put aside back into their pool, or a backup into a directory",
		Long: "Bring tokens that were put aside (quarantined) back into their pool, where they are free at once.\n" +
			fromInput + "\n\n" +
			"With a FILE that is a backup, as tms backup writes it, or that ends in .tar, put it into a directory " +
			"that is missing\n" +
			"or empty, for tms serve --store embedded:DIR. That asks no server.\n\n" +
			"With --mark DIR, say of a data directory that you have put a copy back there by hand. What was done " +
			"after the copy\n" +
			"was made is not in it, so that its pools settle when a server opens it.",
	}
	var marked string
	cmd.Flags().StringVar(&marked, "mark", "", "the data `DIR` is a copy that was put back by hand")
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if marked != "" {
			return cobra.NoArgs(cmd, args)
		}
		return cobra.MinimumNArgs(1)(cmd, args)
	}
	return asksPool(cmd, everyForm, func(r *remote, args []string) error {
		if marked != "" {
			return r.markPutBack(marked)
		}
		if r.isBackup(args) {
			return r.restoreBackup(args[0], args[1])
		}
		return r.onKeys("restore", args, tms.LeaseKey{}, r.restoreKeys, api.TokenOf)
	})
}

func (r *remote) restoreKeys(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	values := make([]string, len(keys))
	for i, key := range keys {
		values[i] = key.Token
	}
	return r.Restore(ctx, pool, values)
}
