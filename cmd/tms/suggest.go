package main

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
)

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
	"tms pool get": "tms pool show POOL", "tms pool status": "tms pool show POOL", "tms pool update": "tms pool set POOL",
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
