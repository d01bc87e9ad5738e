package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

type generate struct {
	*remote
	count     int
	metadata  []string
	requestID string
	rules     newValue
	update    bool
}

func newGenerate() *cobra.Command {
	g := &generate{}
	cmd := &cobra.Command{
		Use:   "generate [TOKEN...]",
		Short: "Put tokens into a pool: drawn ones, or your own",
		Long: fmt.Sprintf("Put tokens into a pool: as many as --count says with values that TMS draws, or your "+
			"own. More "+
			"than\n"+
			"%d drawn tokens go in batches of that size, each all or none. Your own go in one request; tms import\n"+
			"takes more. %s", tms.MaxBatch, fromInput),
		Args: cobra.MaximumNArgs(tms.MaxBatch),
	}
	flags := cmd.Flags()
	flags.IntVarP(&g.count, "count", "n", 1, "how many tokens to draw")
	flags.StringArrayVarP(&g.metadata, "metadata", "m", nil, "`KEY=VALUE` to keep with each token; can be repeated")
	flags.StringVar(&g.requestID, "request-id", "", "`text` that makes the request safe to repeat")
	addTrim(cmd, &g.rules)
	addUpdate(cmd, &g.update)
	return asksPool(cmd, everyForm, func(r *remote, args []string) error {
		g.remote = r
		return g.run(args)
	})
}

func (g *generate) run(args []string) error {
	metadata, err := parsePairs("--metadata", g.metadata)
	switch {
	case err != nil:
		return err
	case len(args) > 0 && g.Flags().Changed("count"):
		return usage("--count cannot be given together with tokens")
	case g.count < 1:
		return usage("--count: must be at least 1")
	case g.count > tms.MaxBatch && g.requestID != "":
		return usage("--request-id: makes one batch safe to repeat; --count must be at most %d", tms.MaxBatch)
	case len(args) > 0:
		return g.own(args, metadata)
	}
	return g.drawn(metadata)
}

// own puts the caller's tokens into the pool, all or none.
func (g *generate) own(args []string, metadata map[string]string) error {
	values, err := g.values(args, g.rules)
	switch {
	case err != nil:
		return err
	case len(values) == 0:
		return g.finish(tms.Generated{Tokens: []string{}})
	case len(values) > tms.MaxBatch:
		return usage("there are %d tokens, and one request takes %d; tms import takes any number", len(values),
			tms.MaxBatch)
	}
	tokens := make([]tms.NewToken, len(values))
	for i, value := range values {
		tokens[i] = tms.NewToken{Value: value, Metadata: metadata}
	}
	request := tms.GenerateRequest{Tokens: tokens, Update: g.update, RequestID: g.requestID}
	made, err := g.Generate(g.Context(), g.pool, request)
	if err != nil {
		return g.tried(err, "generate %s in the pool %q", countOf(len(values), "token"), g.pool)
	}
	return g.finish(made, request.Warnings(made)...)
}

// drawn puts tokens into the pool whose values the server draws. When a batch fails, or a signal ends it, it says what
// the earlier ones made.
func (g *generate) drawn(metadata map[string]string) error {
	ctx, stop := interruptible(g.Context())
	defer stop()
	progress := g.progress("generate")
	all, err := g.batches(ctx, metadata, progress)
	progress.end()
	if err != nil {
		return interrupted(ctx, g.partly(all, err))
	}
	return g.finish(all)
}

// batches generates batch after batch, each to its end. They are smaller where the server, or a proxy before it, takes
// no body of that size.
func (g *generate) batches(ctx context.Context, metadata map[string]string, progress *progress) (all tms.Generated,
	err error) {
	late, stop := outlasting(ctx)
	defer stop()
	for most := g.perRequest(metadata); len(all.Tokens) < g.count; {
		if ctx.Err() != nil {
			return all, fmt.Errorf("generate %s in the pool %q: %w; what was made before stays",
				countOf(g.count, "token"), g.pool, context.Cause(ctx))
		}
		n := min(g.count-len(all.Tokens), most)
		made, err := g.Generate(late, g.pool, g.batch(n, metadata))
		if n > 1 && g.requestID == "" && errors.Is(err, tms.ErrBodyTooLarge) {
			most = n / 2
			continue
		}
		if err != nil {
			return all, g.tried(err, "generate %s in the pool %q", countOf(n, "token"), g.pool)
		}
		all = sum(all, made)
		progress.show(int64(len(all.Tokens)), int64(g.count), "tokens")
	}
	return all, nil
}

// perRequest returns how many tokens with the metadata go into one request. With a request_id there is only one.
func (g *generate) perRequest(metadata map[string]string) int {
	var one bytes.Buffer
	if g.requestID != "" || api.Encode(&one, metadata) != nil {
		return tms.MaxBatch
	}
	return min(tms.MaxBatch, mostBatch/one.Len())
}

func (g *generate) batch(n int, metadata map[string]string) tms.GenerateRequest {
	request := tms.GenerateRequest{Tokens: make([]tms.NewToken, n), RequestID: g.requestID}
	for i := range request.Tokens {
		request.Tokens[i].Metadata = metadata
	}
	return request
}

func sum(a, b tms.Generated) tms.Generated {
	return tms.Generated{
		Tokens:    append(a.Tokens, b.Tokens...),
		Created:   a.Created + b.Created,
		Existing:  a.Existing + b.Existing,
		Differing: a.Differing + b.Differing,
		ExpiresAt: b.ExpiresAt,
	}
}

// partly writes what was made before the error.
func (g *generate) partly(made tms.Generated, err error) error {
	if len(made.Tokens) == 0 {
		return err
	}
	if err := g.finish(made); err != nil {
		return err
	}
	return halfway(err)
}

func (g *generate) finish(made tms.Generated, warnings ...string) error {
	answer := api.GeneratedOf(g.pool, made)
	answer.Warnings = warnings
	t := table{header: []string{"TOKEN"}}
	for _, token := range made.Tokens {
		t.rows = append(t.rows, []string{token})
	}
	g.say("%s", generated(g.pool, made, g.update))
	g.warn(warnings)
	return g.write(answer, t, made.Tokens)
}

// generated says what became of tokens that were brought.
func generated(pool string, made tms.Generated, update bool) string {
	text := fmt.Sprintf("%s created in the pool %q", countOf(made.Created, "token"), pool)
	if made.Existing > 0 {
		text += fmt.Sprintf(", %d existed already", made.Existing)
	}
	switch {
	case made.Differing > 0 && update:
		text += fmt.Sprintf(", of which %d got other metadata", made.Differing)
	case made.Differing > 0:
		text += fmt.Sprintf(", of which %d have other metadata and keep it; --update changes it", made.Differing)
	}
	return text
}

func addUpdate(cmd *cobra.Command, update *bool) {
	cmd.Flags().BoolVar(update, "update", false,
		"give tokens that the pool has already the metadata that is brought for them")
}

func countOf(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// parsePairs reads KEY=VALUE texts.
func parsePairs(flag string, texts []string) (map[string]string, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	all := map[string]string{}
	for _, text := range texts {
		key, value, found := strings.Cut(text, "=")
		if _, twice := all[key]; !found || twice {
			return nil, usage("%s: must be KEY=VALUE, each key once, is %q", flag, text)
		}
		all[key] = value
	}
	if err := tms.ValidateMetadata(flag, all); err != nil {
		return nil, usage("%v", err)
	}
	return all, nil
}
