package main

import (
	"bufio"
	"context"

	"github.com/spf13/cobra"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

func newExport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write all tokens of a pool, for tms import",
		Long: "Write all tokens of a pool to standard output, each as a line of JSON with its metadata and state, as\n" +
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
