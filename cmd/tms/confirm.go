package main

import (
	"bufio"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

var errNotConfirmed = errors.New("you did not say yes; nothing was done")

// addYes adds the flag that answers confirm in advance.
func addYes(cmd *cobra.Command, yes *bool) {
	cmd.Flags().BoolVarP(yes, "yes", "y", false, "do not ask; needed where there is no terminal to ask on")
}

// confirm asks on the terminal before something that takes away from others, or for good.
func (r *remote) confirm(yes bool, format string, args ...any) error {
	if yes {
		return nil
	}
	what := fmt.Sprintf(format, args...)
	if !isTerminal(r.InOrStdin()) {
		return usage("%s? There is no terminal to ask on: say --yes; nothing was done", what)
	}
	fmt.Fprintf(r.ErrOrStderr(), "%s? [y/N] ", what)
	answer, _ := bufio.NewReader(r.InOrStdin()).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errNotConfirmed
}

// mostAsked is of how many tokens tms looks up who holds them, before it takes them away.
const mostAsked = 10

// holder is whoever holds a token that is to be taken away.
type holder struct {
	token, client string
	since, ends   time.Time // the end is by this machine's clock
}

// takeAway carries out what takes tokens from whoever holds them. It asks before, and says afterwards for how long
// their jobs may go on, unless a lease_id says that it is the holder who does so.
func (r *remote) takeAway(what string, args []string, key tms.LeaseKey, yes bool, do func() error) error {
	var holders []holder
	if key.LeaseID == "" && (yes && !r.quiet || !yes && isTerminal(r.InOrStdin())) {
		holders = r.holding(args)
	}
	if err := r.confirm(yes, what, listed(args), r.pool, named(holders)); err != nil {
		return err
	}
	err := do()
	if err == nil {
		r.sayHowLong(holders)
	}
	return err
}

// holding returns who holds the tokens of the arguments, of few. What cannot be looked up it leaves out: the verb will
// say.
func (r *remote) holding(args []string) (all []holder) {
	if len(args) > mostAsked || slices.Contains(args, "-") {
		return nil
	}
	for _, token := range args {
		asked := time.Now()
		found, err := r.Token(r.Context(), r.pool, tms.LeaseKey{Token: token})
		if err == nil && found.Lease != nil {
			ends := asked.Add(found.Lease.TTL)
			all = append(all, holder{token, found.Lease.Who(), found.Lease.AssignedAt, ends})
		}
	}
	return all
}

// named says who holds what is to be taken away.
func named(holders []holder) string {
	switch len(holders) {
	case 0:
		return "whoever holds it"
	case 1:
		h := holders[0]
		return fmt.Sprintf("%s, who holds it since %s (%s)", h.name(), h.since.Local().Format(time.TimeOnly),
			ago(time.Since(h.since)))
	}
	var names []string
	for _, h := range holders {
		if !slices.Contains(names, h.name()) {
			names = append(names, h.name())
		}
	}
	return strings.Join(names, ", ")
}

func (h holder) name() string {
	if h.client == "" {
		return "a client without a name"
	}
	return fmt.Sprintf("the client %q", h.client)
}

// sayHowLong says for how long the jobs of those who held the tokens may go on. A lease that has ended ends them.
func (r *remote) sayHowLong(holders []holder) {
	for _, h := range holders {
		if left := time.Until(h.ends).Round(time.Second); left > 0 {
			r.say("%q was taken from %s, whose job hears of it when it next asks for its lease, and may go on "+
				"for up to %v",
				h.token, h.name(), left)
		}
	}
}

// ago says how long before now something was, or how long after now it will be.
func ago(d time.Duration) string {
	text := api.Duration(max(d, -d).Round(time.Second)).String()
	if d < 0 {
		return "in " + text
	}
	return text + " ago"
}
