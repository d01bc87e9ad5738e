package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

// wish is what the flags say of the tokens that somebody wants to have.
type wish struct {
	clientID string
	count    int
	ttl      time.Duration
	wait     time.Duration
	match    []string
	prefer   string
}

func (w *wish) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.DurationVarP(&w.wait, "wait", "w", 0, "`time` to wait for a token where none is free; default: not at all")
	flags.IntVarP(&w.count, "count", "n", 1, "how many tokens, all or none")
	flags.DurationVar(&w.ttl, "ttl", 0, "`time` that a lease lasts without a keep-alive (default the pool's lease_ttl)")
	flags.StringVarP(&w.clientID, "client-id", "c", "", "who holds the token, as `text` for those who look")
	flags.StringArrayVarP(&w.match, "match", "m", nil,
		"only a token whose metadata has `KEY=VALUE`, a label of the pool; can be repeated")
	flags.StringVar(&w.prefer, "prefer", "", "the `TOKEN` to take if it is free; otherwise another")
}

// request returns what is asked for, or refuses it naming the flag.
func (w *wish) request(cmd *cobra.Command) (tms.AssignRequest, error) {
	match, err := parsePairs("--match", w.match)
	request := tms.AssignRequest{
		ClientID: w.clientID, Count: w.count, TTL: w.ttl, Wait: w.wait, Match: match, Prefer: w.prefer,
	}
	switch {
	case err != nil:
	case w.prefer == "-":
		err = usage("--prefer: must name one token; - does not read one here")
	case w.count < 1:
		err = usage("--count: must be 1 to %d", tms.MaxAssignCount)
	case cmd.Flags().Changed("ttl") && w.ttl == 0:
		err = usage("%v", tms.ValidateTTL("--ttl", 0))
	default:
		if invalid := request.Validate(); invalid != nil {
			err = usage("%v", invalid)
		}
	}
	return request, err
}

func newAssign() *cobra.Command {
	var w wish
	var requestID string
	cmd := &cobra.Command{
		Use: "assign", Aliases: []string{"acquire"},
		Short: "Take tokens, each under a lease; tms run does so for a whole job",
		Args:  cobra.NoArgs,
	}
	w.add(cmd)
	cmd.Flags().StringVar(&requestID, "request-id", "", "`text` that makes the request safe to repeat")
	return asksPool(cmd, everyForm, func(r *remote, _ []string) error {
		request, err := w.request(cmd)
		if err != nil {
			return err
		}
		request.RequestID = requestID
		return r.assign(request)
	})
}

// assign takes tokens and writes them. A signal to end gives up the place in the queue, and what was given and could
// not be written any more.
func (r *remote) assign(request tms.AssignRequest) error {
	ctx, stop := interruptible(r.Context())
	defer stop()
	results, err := r.Assign(ctx, r.pool, []tms.AssignRequest{request})
	if err == nil {
		err = results[0].Err
	}
	if err != nil {
		return unheld(ctx, request, r.tried(err, "assign %s of the pool %q", countOf(request.Count, "token"), r.pool))
	}
	tokens := make([]api.Token, request.Count)
	for i, token := range results[0].Tokens {
		tokens[i] = api.LeaseOf(token)
	}
	answer := api.AssignedOf(results[0].Tokens, request.Count)
	answer.Warnings = request.Warnings(results[0].Tokens)
	r.warn(answer.Warnings)
	signal.Ignore(syscall.SIGPIPE) // or a reader that has gone would end tms with the tokens
	if err = context.Cause(ctx); err == nil {
		err = r.write(answer, r.tokenTable(tokens), tokenNames(tokens))
	}
	if err != nil {
		return interrupted(ctx, r.unwritten(err, request, tokens))
	}
	signal.Ignore(interrupts...) // it is done, and must not look as if it were not
	return nil
}

// unheld returns the error of an assign that got no tokens, which a signal may have ended.
func unheld(ctx context.Context, request tms.AssignRequest, err error) error {
	var by signalled
	switch {
	case !errors.As(context.Cause(ctx), &by):
		return err
	case request.RequestID != "":
		err = fmt.Errorf("assign: %w; repeated with the same --request-id it says what was assigned", by)
	default:
		err = fmt.Errorf("assign: %w; it holds nothing, and waits no longer", by)
	}
	return interrupted(ctx, err)
}

// unwritten gives back tokens that could not be written, because nobody else knows of them; but not those that a repeat
// of the request would say again.
func (r *remote) unwritten(err error, request tms.AssignRequest, tokens []api.Token) error {
	err = fmt.Errorf("assign %s of the pool %q: %w", countOf(request.Count, "token"), r.pool, err)
	if request.RequestID != "" {
		return fmt.Errorf("%w; it is done, and repeated with the same --request-id it says what was assigned", err)
	}
	keys := make([]tms.LeaseKey, len(tokens))
	for i, token := range tokens {
		keys[i] = tms.LeaseKey{Token: token.Token, LeaseID: token.LeaseID}
	}
	results, failed := r.Unblock(r.Context(), r.pool, keys)
	for _, result := range results {
		failed = errors.Join(failed, result.Err)
	}
	if failed != nil {
		return fmt.Errorf("%w; what was assigned could not be given back, and is free when its lease ends: %v", err,
			failed)
	}
	return fmt.Errorf("%w; what was assigned was given back", err)
}

func newKeepAlive() *cobra.Command {
	var key tms.LeaseKey
	cmd := &cobra.Command{
		Use:   "keep-alive TOKEN...",
		Short: "Push on the leases of tokens",
		Long:  "Push on the leases of tokens, and wind their token clocks. " + fromInput,
		Args:  cobra.MinimumNArgs(1),
	}
	addLeaseID(cmd, &key)
	cmd.Flags().DurationVar(&key.TTL, "ttl", 0,
		"`time` that the lease is to last from now (default as long as it was assigned for)")
	return asksPool(cmd, everyForm, func(r *remote, args []string) error {
		if cmd.Flags().Changed("ttl") && key.TTL == 0 {
			return usage("%v", tms.ValidateTTL("--ttl", 0))
		}
		return r.onKeys("keep alive", args, key, r.KeepAlive, api.LeaseOf)
	})
}

func newUnblock() *cobra.Command {
	var key tms.LeaseKey
	var clientID string
	var cooldown time.Duration
	var yes bool
	cmd := &cobra.Command{
		Use: "unblock TOKEN... | --client-id ID", Aliases: []string{"release"},
		Short: "Give tokens back, or put them aside",
		Long: "End the leases of tokens and give them back to the pool. With --lease-id it is the holder who does " +
			"so;\n" +
			"without, or with --client-id, it takes a token away from whoever holds it, and asks before. " + fromInput,
	}
	addLeaseID(cmd, &key)
	cmd.Flags().BoolVar(&key.Quarantine, "quarantine", false,
		"put the tokens aside, because they are broken; tms restore brings them back")
	cmd.Flags().DurationVar(&cooldown, "cooldown", 0,
		"`time` for which the tokens rest; 0: not at all (default the pool's cooldown)")
	cmd.Flags().StringVarP(&clientID, "client-id", "c", "",
		"all that this client holds, in a pool with max_leases_per_client")
	addYes(cmd, &yes)
	return asksPool(cmd, everyForm, func(r *remote, args []string) error {
		if (len(args) > 0) == (clientID != "") {
			return usage("give either tokens or --client-id")
		}
		if cmd.Flags().Changed("cooldown") {
			key.Cooldown = &cooldown
		}
		if clientID != "" {
			return r.unblockClient(clientID, key, yes)
		}
		return r.unblock(args, key, yes)
	})
}

func (r *remote) unblock(args []string, key tms.LeaseKey, yes bool) error {
	return r.takeAway("Take %s of the pool %q away from %s", args, key, yes || key.LeaseID != "", func() error {
		return r.onKeys("unblock", args, key, r.Unblock, api.TokenOf)
	})
}

func (r *remote) unblockClient(clientID string, key tms.LeaseKey, yes bool) error {
	if key != (tms.LeaseKey{}) {
		return usage("--client-id cannot be given together with --lease-id, --quarantine or --cooldown")
	}
	if err := r.confirm(yes, "Take all that the client %q holds in the pool %q away from it", clientID,
		r.pool); err != nil {
		return err
	}
	n, err := r.UnblockClient(r.Context(), r.pool, clientID)
	if err != nil {
		return r.tried(err, "unblock what the client %q holds in the pool %q", clientID, r.pool)
	}
	r.say("%s given back", countOf(n, "token"))
	answer := api.ClientUnblocked{Pool: r.pool, ClientID: clientID, Unblocked: n}
	return r.write(answer, table{[]string{"CLIENT", "UNBLOCKED"}, [][]string{{clientID, number(int64(n))}}}, nil)
}

func addLeaseID(cmd *cobra.Command, key *tms.LeaseKey) {
	cmd.Flags().StringVar(&key.LeaseID, "lease-id", "", "`ID` of the lease, which assign gave; with one token only")
}
