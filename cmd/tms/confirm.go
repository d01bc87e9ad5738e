package main

import (
	"bufio"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
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
