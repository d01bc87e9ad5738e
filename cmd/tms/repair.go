package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/manankarani/token-manager/internal/store/embedded"
)

func newRepair() *cobra.Command {
	return &cobra.Command{
		Use:   "repair DIR",
		Short: "Cut the log of a data directory off where it is damaged",
		Long: "Cut the log of a data directory off where it is damaged, so that tms serve opens it again. What was done " +
			"from\n" +
			"there on is forgotten. No server may be running on the directory; copy it before.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			did, err := embedded.Repair(args[0])
			if err != nil {
				return err
			}
			if len(did) == 0 {
				did = []string{"nothing is damaged, nothing was done"}
			}
			for _, line := range did {
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), line); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
