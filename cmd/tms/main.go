// Command tms is the Token Management System: a server that leases unique tokens from pools, and all that asks it.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/manankarani/token-manager/api"
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
	root.AddGroup(&cobra.Group{ID: groupServer, Title: "To serve:"},
		&cobra.Group{ID: groupJob, Title: "To hold a token:"},
		&cobra.Group{ID: groupToken, Title: "To work on tokens:"},
		&cobra.Group{ID: groupPool, Title: "To work on pools:"})
	addGroup(root, groupServer, newServe(), newConfig(), newHealthcheck(), newDoctor(), newBackup(), newRepair(),
		newBench(), newKey())
	addGroup(root, groupJob, newRun(), newAssign(), newKeepAlive(), newUnblock())
	addGroup(root, groupToken, newGenerate(), newDelete(), newQuarantine(), newRestore(), newLookup(), newExplain(),
		newTokens(), newImport(), newExport())
	addGroup(root, groupPool, newPools(), newPool(), newWaiters())
	root.AddCommand(newVersion(), newWhoami())
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

// version is set by the linker for a release: -ldflags "-X main.version=v1.2.3".
var version string

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run:   printVersion,
	}
}

func printVersion(cmd *cobra.Command, _ []string) {
	fmt.Fprintf(cmd.OutOrStdout(), "tms %s %s %s/%s\n", versionText(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// addVersion gives the root the flag that many programs have for it. Without it the root shows its help.
func addVersion(root *cobra.Command) {
	version := root.Flags().Bool("version", false, "print the version")
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if *version {
			printVersion(cmd, args)
			return nil
		}
		return cmd.Help()
	}
}

// versionText returns what the linker set, or what the go command knows: the module's version of a go install, the
// commit of a go build in a checkout.
func versionText() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}

func newHealthcheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask the server on the configured address whether it is ready; exit 1 if not",
		Args:  cobra.NoArgs,
	}
	return withConfig(cmd, func(cmd *cobra.Command, c *config) error {
		ctx, cancel := context.WithTimeout(cmd.Context(), 3*time.Second)
		defer cancel()
		return healthcheck(ctx, c)
	})
}

func healthcheck(ctx context.Context, c *config) error {
	address, err := c.address()
	if err != nil {
		return err
	}
	url := c.scheme() + "://" + reachable(address) + api.PathReady
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	// Unlike the default one, it goes through no proxy. Whose certificate its own machine shows does not matter here.
	through := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	response, err := through.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK {
		return nil
	}
	reason, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
	return fmt.Errorf("not ready: %s: %s", response.Status, strings.TrimSpace(string(reason)))
}
