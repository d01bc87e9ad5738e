// Command tms is the Token Management System: a server that leases unique tokens from pools, and all that asks it.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

func main() {
	begun := false
	root := newRoot()
	root.PersistentPreRun = func(*cobra.Command, []string) { begun = true }
	out := &stdout{file: os.Stdout}
	root.SetOut(out)
	cmd, err := root.ExecuteC()
	err = out.unsaid(err)
	code := exitCode(err, begun)
	explain(os.Stderr, err)
	if code == exitUsage && !errors.As(err, new(*ended)) { // which is about a value elsewhere, not in the command line
		fmt.Fprintf(os.Stderr, "try: %s --help\n", cmd.CommandPath())
	}
	os.Exit(code)
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "tms",
		Short:         "TMS leases unique tokens from pools: many clients, few tokens, one holder at a time.",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.Long = root.Short + "\n\n" + exitHelp()
	root.AddGroup(&cobra.Group{ID: groupServer, Title: "To serve:"}, &cobra.Group{ID: groupJob, Title: "To hold a token:"},
		&cobra.Group{ID: groupToken, Title: "To work on tokens:"}, &cobra.Group{ID: groupPool, Title: "To work on pools:"})
	addGroup(root, groupServer, newServe(), newConfig(), newHealthcheck(), newBackup(), newRepair(), newBench())
	addGroup(root, groupJob, newRun(), newAssign(), newKeepAlive(), newUnblock())
	addGroup(root, groupToken, newGenerate(), newDelete(), newQuarantine(), newRestore(), newLookup(), newTokens(),
		newImport(), newExport())
	addGroup(root, groupPool, newPools(), newPool())
	root.AddCommand(newVersion())
	root.Args = knownCommand
	addVersion(root)
	root.SetFlagErrorFunc(explainFlag)
	everyFlag(root, takeSeconds)
	completeChoices(root)
	fillHelp(root)
	return root
}

// The groups of commands in the help.
const (
	groupServer = "server"
	groupJob    = "job"
	groupToken  = "token"
	groupPool   = "pool"
)

func addGroup(root *cobra.Command, group string, commands ...*cobra.Command) {
	for _, c := range commands {
		c.GroupID = group
		root.AddCommand(c)
	}
}

// withCommands gives a command commands of its own. Alone it shows its help; what is none of them it refuses.
func withCommands(cmd *cobra.Command, commands ...*cobra.Command) *cobra.Command {
	cmd.Args = knownCommand
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(commands...)
	return cmd
}
