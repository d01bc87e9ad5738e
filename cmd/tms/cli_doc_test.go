package main

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/manankarani/token-manager/api"
)

func cliDoc(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// docSection returns what stands under a heading, to the next one of any level.
func docSection(doc, heading string) (string, bool) {
	_, after, found := strings.Cut(doc, "\n"+heading+"\n")
	section, _, _ := strings.Cut(after, "\n#")
	return section, found
}

// Every command has a section, which has a table of its own flags, or the section about all of them has the line. Those
// of serve are in the document of the configuration.
func TestCLIDocHoldsEveryCommandAndFlag(t *testing.T) {
	doc := cliDoc(t)
	common, found := docSection(doc, "## What they have in common")
	if !found {
		t.Fatal("there is no section about the common flags")
	}
	policy, _ := docSection(doc, "## To work on pools")
	common += policy
	root := newRoot()
	root.InitDefaultCompletionCmd()
	checkDoc(t, doc, common, root)
}

func checkDoc(t *testing.T, doc, common string, cmd *cobra.Command) {
	t.Helper()
	for _, c := range cmd.Commands() {
		if cmd.Name() != "completion" {
			checkDoc(t, doc, common, c)
		}
	}
	if cmd.HasSubCommands() && cmd.Name() != "completion" {
		return
	}
	heading := "### `" + strings.ReplaceAll(cmd.UseLine(), " [flags]", "") + "`"
	section, found := docSection(doc, heading)
	if !found {
		t.Errorf("docs/cli.md has no section %s", heading)
	}
	settings := new(config).settings()
	cmd.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
		if settings.Lookup(f.Name) == nil && !strings.Contains(section+common, flagRow(f)) {
			t.Errorf("docs/cli.md does not have this line for %s:\n%s", cmd.CommandPath(), flagRow(f))
		}
	})
}

// flagRow is the line of a flag in the document.
func flagRow(f *pflag.Flag) string {
	name := "`--" + f.Name + "`"
	if f.Shorthand != "" {
		name = "`-" + f.Shorthand + "`, " + name
	}
	value := defaultCell(f)
	if slices.Contains([]string{"`0`", "`0s`", "`false`", "`[]`"}, value) {
		value = ""
	}
	return fmt.Sprintf("| %s | %s | %s |\n", name, value, meaningOf(f))
}

// Every flag that the document names is one.
func TestCLIDocHoldsNoOtherFlags(t *testing.T) {
	known := map[string]bool{"--help": true}
	var collect func(cmd *cobra.Command)
	collect = func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known["--"+f.Name] = true })
		for _, c := range cmd.Commands() {
			collect(c)
		}
	}
	collect(newRoot())
	for _, flag := range regexp.MustCompile(`--[a-z][a-z-]+`).FindAllString(cliDoc(t), -1) {
		if !known[flag] {
			t.Errorf("docs/cli.md tells of %s, which is no flag", flag)
		}
	}
}

func TestCLIDocHoldsTheExitCodes(t *testing.T) {
	var table strings.Builder
	fmt.Fprint(&table, "| code | means |\n| --- | --- |\n")
	for _, e := range exits {
		fmt.Fprintf(&table, "| %d | %s |\n", e.code, e.means)
	}
	if !strings.Contains(cliDoc(t), table.String()) {
		t.Errorf("docs/cli.md does not hold the table of exit codes as it is now:\n\n%s", &table)
	}
	for _, e := range exits {
		if !strings.Contains(newRoot().Long, fmt.Sprintf("%3d  %s\n", e.code, e.means)) {
			t.Errorf("tms --help does not tell of the exit code %d", e.code)
		}
	}
}

// pool set has a flag for every field of a policy, and no others.
func TestAPoolCanBeSetInEveryField(t *testing.T) {
	flags, fields := policyFlags(), reflect.TypeFor[api.Policy]()
	for field := range fields.Fields() {
		if field.Name == "If" {
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if flags.Lookup(strings.ReplaceAll(name, "_", "-")) == nil {
			t.Errorf("pool set has no flag for %s", name)
		}
	}
	n := 0
	if flags.VisitAll(func(*pflag.Flag) { n++ }); n != fields.NumField()-1 {
		t.Errorf("pool set has %d flags for %d fields", n, fields.NumField()-1)
	}
}
