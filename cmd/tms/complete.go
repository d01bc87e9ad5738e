package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
	"github.com/manankarani/token-manager/client"
)

// completePools completes the name of a pool: it asks the server, for a second at most.
func completePools(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	server, _ := cmd.Flags().GetString("server")
	c, err := client.New(serverURL(server), client.WithRetryFor(0))
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	defer c.Close()
	page, err := c.Pools(ctx, "", api.MaxPage)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, p := range page.Pools {
		if strings.HasPrefix(p.Name, begin) {
			names = append(names, p.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// choices are the values of flags that have few.
var choices = map[string][]string{
	"on-lost":         {onLostStop, onLostWarn},
	"on-lease-expiry": {string(tms.ExpiryReleases), string(tms.ExpiryDeletes), string(tms.ExpiryQuarantines)},
	"selection":       {string(tms.SelectRandom), string(tms.SelectFIFO), string(tms.SelectLIFO)},
	"state":           states,
	"log-format":      {"text", "json"},
	"log-level":       {"debug", "info", "warn", "error"},
	"sync":            {"always"},
}

// completeChoices lets the shell complete the flags of the command, and of those below it, that have few values.
func completeChoices(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if values := choices[f.Name]; values != nil {
			cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
		}
	})
	for _, c := range cmd.Commands() {
		completeChoices(c)
	}
}

// completePool completes a pool's name where it is the first argument.
func completePool(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return completePools(cmd, args, begin)
}
