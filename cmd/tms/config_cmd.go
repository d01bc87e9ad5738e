package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/manankarani/token-manager/api"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check a configuration, or print the default one"}
	return withCommands(cmd, newConfigCheck(), newConfigDefault())
}

func newConfigCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the settings from flags, environment and file without serving",
		Args:  cobra.NoArgs,
	}
	return withConfig(cmd, func(cmd *cobra.Command, c *config) error {
		if _, err := c.ownAddress(); err != nil {
			return err
		}
		if _, err := c.certificate(); err != nil {
			return &ended{exitUsage, err}
		}
		for _, text := range c.warnings() {
			fmt.Fprintln(cmd.ErrOrStderr(), "warning:", text)
		}
		fmt.Fprintln(cmd.OutOrStdout(), "the configuration is good")
		return nil
	})
}

func newConfigDefault() *cobra.Command {
	return &cobra.Command{
		Use:   "default",
		Short: "Print a configuration file with every setting at its default",
		Args:  cobra.NoArgs,
		Run:   func(cmd *cobra.Command, _ []string) { printDefault(cmd.OutOrStdout()) },
	}
}

// withConfig gives the command a flag for every setting, and runs it with the settings loaded.
func withConfig(cmd *cobra.Command, run func(*cobra.Command, *config) error) *cobra.Command {
	c := &config{}
	settings := c.settings()
	cmd.Flags().AddFlagSet(settings)
	cmd.Flags().SortFlags = false
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := c.load(settings); err != nil {
			return &ended{exitUsage, err} // told in full: the help of the command has nothing to add
		}
		return run(cmd, c)
	}
	return cmd
}

// explainFlag says of a flag's bad value which there can be.
func explainFlag(_ *cobra.Command, err error) error {
	var bad *pflag.InvalidValueError
	if !errors.As(err, &bad) {
		return err
	}
	if bad.GetFlag().Value.Type() == "duration" {
		return fmt.Errorf("--%s: must be %s, is %q", bad.GetFlag().Name, secondsForm, bad.GetValue())
	}
	return fmt.Errorf("--%s: %w", bad.GetFlag().Name, explainValue(bad.GetFlag(), bad.GetValue(), bad.Unwrap()))
}

const poolsExample = `# The pools and their policies, set at every start; what a policy leaves out keeps its value.
# pools:
#   phones:
#     max_tokens: 5000
#     lease_ttl: 90s
#     token_ttl: "0"
#     selection: fifo
`

func printDefault(out io.Writer) {
	fmt.Fprintln(out, "# Settings of tms serve --config FILE. A flag comes before the environment, the environment "+
		"before this file.")
	settings := new(config).settings()
	settings.VisitAll(func(f *pflag.Flag) {
		if f.Name == configFlag {
			return
		}
		fmt.Fprintf(out, "\n# %s\n%s: %s\n", meaningOf(f), keyOf(f.Name), cmp.Or(defaultOf(f), `""`))
	})
	fmt.Fprint(out, "\n", poolsExample)
}

// meaningOf returns a flag's usage as a sentence of its own.
func meaningOf(f *pflag.Flag) string {
	_, usage := pflag.UnquoteUsage(f)
	return strings.ToUpper(usage[:1]) + usage[1:] + "."
}

// defaultOf returns a flag's default as people write it: "1m", not "1m0s".
func defaultOf(f *pflag.Flag) string {
	if d, err := time.ParseDuration(f.DefValue); err == nil && f.Value.Type() == "duration" {
		return api.Duration(d).String()
	}
	return f.DefValue
}
