package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/bench"
)

// benchmark is one tms bench.
type benchmark struct {
	*remote
	mix      string
	duration time.Duration
	rate     float64
	closed   bool
	tokens   int
}

func newBench() *cobra.Command {
	b := &benchmark{}
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Load a server with a mix of requests, and measure it",
		Long: "Send a mix of requests over many connections, and print how many were answered in a second, how long " +
			"they took\n" +
			"and what was refused. Without --pool it makes a pool of its own, bench-…, and removes it in the " +
			"end.\n\n" +
			"For a third of the time each connection sends its next request when the last is answered, which says " +
			"how many\n" +
			"there can be in a second. For the rest half as many are due, evenly, and what one takes is counted " +
			"from when it\n" +
			"was due, so that a server that stalls is charged for all that had to wait. --rate says how many are " +
			"due, and\n" +
			"--closed leaves it at the former.",
		Example: "  tms bench --mix assign=1,keep-alive=2,unblock=1 -c 64 --duration 10s",
		Args:    cobra.NoArgs,
	}
	r := &remote{Command: cmd}
	flags := cmd.Flags()
	flags.StringVar(&b.mix, "mix", "assign=1,keep-alive=2,unblock=1",
		"`cycle` of each connection: "+strings.Join(bench.Verbs, ", ")+", each with how often")
	flags.IntVarP(&r.connections, "connections", "c", 64, "how many connections")
	flags.DurationVarP(&b.duration, "duration", "d", 10*time.Second, "`time` that it lasts")
	flags.Float64Var(&b.rate, "rate", 0, "how many requests are due in a second; 0: half of what the connections can")
	flags.BoolVar(&b.closed, "closed", false, "send each request when the last is answered, all the time")
	flags.IntVar(&b.tokens, "tokens", 10_000, "how many tokens its own pool has")
	flags.StringVarP(&r.pool, "pool", "p", "",
		"`name` of a pool to use, with the tokens that it has; default: one of its own")
	cmd.RegisterFlagCompletionFunc("pool", completePools)
	r.prepare([]string{formTable, formJSON}, func(r *remote, _ []string) error {
		b.remote = r
		return b.run()
	})
	once := flags.Lookup("retry-for") // a repeated request would hide an error
	once.DefValue = "0s"
	r.retryFor = 0
	return cmd
}

func (b *benchmark) run() error {
	mix, err := bench.ParseMix(b.mix)
	if err != nil {
		return usage("--mix: %v", err)
	}
	err = errors.Join(
		positive("--connections", b.connections), positive("--duration", b.duration), positive("--tokens", b.tokens),
		checkRate(b.rate),
	)
	if err == nil && b.closed && b.rate > 0 {
		err = errors.New("--closed cannot be given together with --rate")
	}
	if err == nil && b.pool != "" && b.Flags().Changed("tokens") {
		err = errors.New("--tokens cannot be given together with --pool")
	}
	if err != nil {
		return usage("%v", err)
	}
	ctx, stop := interruptible(b.Context())
	defer stop()
	if b.pool != "" {
		if _, _, err := b.Pool(ctx, b.pool); err != nil {
			return b.asked(err, "load the pool %q", b.pool)
		}
		return b.measure(ctx, mix)
	}
	return interrupted(ctx, b.inOwnPool(ctx, mix))
}

// mostRate is more than any server answers in a second.
const mostRate = 10_000_000

func checkRate(rate float64) error {
	if rate >= 0 && rate <= mostRate { // which a NaN is not
		return nil
	}
	return fmt.Errorf("--rate: must be 0 to %d", mostRate)
}

// inOwnPool makes a pool, and removes it in the end.
func (b *benchmark) inOwnPool(ctx context.Context, mix bench.Mix) (err error) {
	b.pool = "bench-" + strings.ToLower(rand.Text()[:12])
	forEver, most := time.Duration(0), min(tms.MaxMaxTokens, max(b.tokens, tms.DefaultPolicy().MaxTokens))
	if slices.Contains(mix, bench.Generate) {
		most = tms.MaxMaxTokens
	}
	if _, err := b.PutPool(ctx, b.pool, tms.PolicyChange{TokenTTL: &forEver, MaxTokens: &most}); err != nil {
		return b.tried(err, "make the pool %q", b.pool)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, b.tried(b.DeletePool(ctx, b.pool), "remove the pool %q", b.pool))
	}()
	if err := b.fill(ctx); err != nil {
		return err
	}
	return b.measure(ctx, mix)
}

func (b *benchmark) fill(ctx context.Context) error {
	progress := b.progress("generate")
	defer progress.end()
	for done := 0; done < b.tokens; {
		n := min(b.tokens-done, tms.MaxBatch)
		if _, err := b.Generate(ctx, b.pool, tms.GenerateRequest{Tokens: make([]tms.NewToken, n)}); err != nil {
			return b.tried(err, "generate %s in the pool %q", countOf(n, "token"), b.pool)
		}
		done += n
		progress.show(int64(done), int64(b.tokens), "tokens")
	}
	return nil
}

func (b *benchmark) measure(ctx context.Context, mix bench.Mix) error {
	b.say("%s in the pool %q over %s for %v", b.mix, b.pool, countOf(b.connections, "connection"), b.duration)
	o, err := b.options(mix)
	if err != nil {
		return err
	}
	answer := benchAnswer{Pool: b.pool, Mix: b.mix, Connections: b.connections}
	if o.Rate == 0 && !b.closed {
		first := o
		first.Duration = o.Duration / 3
		most := bench.Run(ctx, first)
		o.Duration -= first.Duration
		o.Rate, answer.Most = most.PerSecond/2, most.PerSecond
		answer.Report = most
	}
	if answer.Report == nil || ctx.Err() == nil && o.Rate > 0 {
		answer.follow(bench.Run(ctx, o), o.Rate)
	}
	if err := b.write(answer, latencyTable(answer.Report), nil); err != nil {
		return err
	}
	if b.output == formTable {
		return writeLines(b.OutOrStdout(), answer.lines())
	}
	return nil
}

// follow goes on with a load of a rate, and keeps the errors of the one before it.
func (a *benchAnswer) follow(next *bench.Report, rate float64) {
	if a.Report != nil {
		for name, n := range a.Errors {
			next.Errors[name] += n
		}
	}
	a.Report, a.Rate = next, rate
}

func (b *benchmark) options(mix bench.Mix) (bench.Options, error) {
	address, err := url.Parse(b.server)
	if err != nil {
		return bench.Options{}, err // which cannot be, since the client has read it
	}
	trusted, err := b.secrecy.orVariables().config()
	wire := bench.Wire{URL: address, TLS: trusted, Key: b.key, Pool: b.pool}
	return bench.Options{
		Store: b.Client, Pool: b.pool, Mix: mix, Connections: b.connections, Duration: b.duration, Rate: b.rate,
		Connect: wire.Connect, Failure: nameOf,
	}, err
}

func nameOf(err error) string {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, new(net.Error)) {
		return "unreachable"
	}
	return "failed"
}

type benchAnswer struct {
	Pool        string  `json:"pool"`
	Mix         string  `json:"mix"`
	Connections int     `json:"connections"`
	Rate        float64 `json:"rate"` // of the latencies; zero: each connection sent as fast as it could

	// Most is how many requests the connections could send in a second before that. Zero: it was not asked.
	Most float64 `json:"most_per_second,omitzero"`

	*bench.Report
}

// lines says what is not in the table.
func (a benchAnswer) lines() []string {
	lines := []string{""}
	if a.Most > 0 {
		lines = append(lines, fmt.Sprintf("at most %.0f requests in a second; then", a.Most))
	}
	lines = append(lines, fmt.Sprintf("%d requests in %.2f s: %.0f in a second", a.Requests, a.Seconds, a.PerSecond),
		fmt.Sprintf("this command took %.0f %% of a processor", a.ownShare()))
	if a.Unsent > 0 {
		lines = append(lines,
			fmt.Sprintf("%d more were due and not sent in time; above they count with the time they waited",
				a.Unsent))
	}
	if a.Unanswered > 0 {
		lines = append(lines,
			fmt.Sprintf("%d more were cut off by the interrupt; above they count with the time they waited",
				a.Unanswered))
	}
	if a.Skipped > 0 {
		lines = append(lines, fmt.Sprintf("%d steps were skipped, because the connection held no token", a.Skipped))
	}
	if len(a.Errors) == 0 {
		return append(lines, "no errors")
	}
	for _, name := range slices.Sorted(maps.Keys(a.Errors)) {
		lines = append(lines, fmt.Sprintf("%d errors: %s", a.Errors[name], name))
	}
	return lines
}

// ownShare returns what this command took of one processor, in percent.
func (a benchAnswer) ownShare() float64 {
	if a.Seconds == 0 {
		return 0
	}
	return 100 * a.OwnCPU / a.Seconds
}

func latencyTable(r *bench.Report) table {
	t := table{header: []string{"VERB", "REQUESTS", "MEAN ms", "P50", "P90", "P99", "P99.9", "MAX"}}
	for _, verb := range bench.Verbs {
		if l, ok := r.Latency[verb]; ok {
			t.addLatency(verb, l)
		}
	}
	t.addLatency(bench.All, r.Latency[bench.All])
	return t
}

func (t *table) addLatency(verb string, l bench.Latency) {
	row := []string{verb, fmt.Sprint(l.Requests)}
	for _, ms := range []float64{l.Mean, l.P50, l.P90, l.P99, l.P999, l.Max} {
		row = append(row, fmt.Sprintf("%.2f", ms))
	}
	t.rows = append(t.rows, row)
}
