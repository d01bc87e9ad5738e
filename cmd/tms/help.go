package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
	"github.com/manankarani/token-manager/client"
	"github.com/manankarani/token-manager/internal/server"
)

const helpWidth = 100 // columns

// fillHelp breaks the long help of a command, and of those below it, where lines are full.
func fillHelp(cmd *cobra.Command) {
	cmd.Long = fill(cmd.Long)
	for _, c := range cmd.Commands() {
		fillHelp(c)
	}
}

// fill breaks the paragraphs of a text anew. Lines that begin with a blank stay as they are.
func fill(text string) string {
	var filled, words []string
	flush := func() {
		filled = append(filled, broken(words)...)
		words = nil
	}
	for line := range strings.SplitSeq(text, "\n") {
		if line == "" || line[0] == ' ' {
			flush()
			filled = append(filled, line)
			continue
		}
		words = append(words, strings.Fields(line)...)
	}
	flush()
	return strings.Join(filled, "\n")
}

// broken returns the words as lines.
func broken(words []string) (lines []string) {
	for _, word := range words {
		last := len(lines) - 1
		if last < 0 || len(lines[last])+1+len(word) > helpWidth {
			lines = append(lines, word)
		} else {
			lines[last] += " " + word
		}
	}
	return lines
}

// otherWords are what people who come from elsewhere call what there is here.
var otherWords = map[string]string{
	"tms rm": "tms delete TOKEN, or tms pool rm POOL", "tms remove": "tms delete TOKEN, or tms pool rm POOL",
	"tms status": "tms pools, or tms pool show POOL, or tms healthcheck",
	"tms stats":  "tms pools, or tms pool show POOL",
	"tms show":   "tms lookup TOKEN, or tms pool show POOL", "tms get": "tms lookup TOKEN, or tms assign",
	"tms add": "tms generate TOKEN, or tms import FILE", "tms create": "tms generate TOKEN, or tms pool create POOL",
	"tms load": "tms import FILE", "tms dump": "tms export",
	"tms take": "tms assign", "tms lock": "tms assign, or tms run -- COMMAND",
	"tms free": "tms unblock TOKEN", "tms unlock": "tms unblock TOKEN", "tms revoke": "tms unblock TOKEN",
	"tms renew": "tms keep-alive TOKEN", "tms heartbeat": "tms keep-alive TOKEN", "tms refresh": "tms keep-alive TOKEN",
	"tms exec": "tms run -- COMMAND", "tms with": "tms run -- COMMAND",
	"tms start": "tms serve", "tms server": "tms serve",
	"tms pool ls": "tms pools", "tms pool list": "tms pools",
	"tms pool delete": "tms pool rm POOL", "tms pool remove": "tms pool rm POOL",
	"tms pool get": "tms pool show POOL", "tms pool status": "tms pool show POOL",
	"tms pool update": "tms pool set POOL",
}

// knownCommand refuses what is no command of cmd, and says what may have been meant.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	meant := otherWords[cmd.CommandPath()+" "+args[0]]
	if meant != "" {
		meant = "; try " + meant
	} else {
		var names []string
		for _, c := range cmd.Commands() {
			names = append(names, c.Name())
		}
		meant = didYouMean(args[0], names)
	}
	return usage("unknown command %q for %q%s", args[0], cmd.CommandPath(), meant)
}

// didYouMean returns a question that names the nearest of the names, or "" where none is near.
func didYouMean(name string, names []string) string {
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(distance(name, a), distance(name, b)), cmp.Compare(a, b))
	})
	if len(names) == 0 || distance(name, names[0]) > len(name)/3 {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", names[0])
}

// distance returns how many bytes must be inserted, deleted or changed to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1) // row[j]: from the part of a that was read to b[:j]
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// completePools completes the name of a pool: it asks the server, for a second at most.
func completePools(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	server, _ := cmd.Flags().GetString("server")
	file, _ := cmd.Flags().GetString("key-file")
	key := client.WithKeyFrom((&keySource{file: file}).key)
	var files secrecy
	files.caFile, _ = cmd.Flags().GetString("ca-file")
	files.certFile, _ = cmd.Flags().GetString("cert-file")
	files.certKeyFile, _ = cmd.Flags().GetString("cert-key-file")
	trusted, _ := files.orVariables().config()
	c, err := client.New(serverURL(server), client.WithRetryFor(0), key, client.WithTLS(trusted))
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
	"auth":            {authOff, authKeys},
	"log-format":      {"text", "json"},
	"log-level":       {"debug", "info", "warn", "error"},
	"log-requests":    {server.LogNone, server.LogErrors, server.LogAll},
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
