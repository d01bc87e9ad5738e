// Command tms is the Token Management System: a server that leases unique tokens from pools.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

func main() {
	if err := newRoot().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "tms:", err)
		os.Exit(1)
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "tms",
		Short:         "TMS leases unique tokens from pools: many clients, few tokens, one holder at a time.",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newServe(), newConfig(), newHealthcheck(), newVersion())
	return root
}
