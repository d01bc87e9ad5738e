package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mattn/go-runewidth"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Characters that take two columns, or none, push nothing out of its column.
func TestTablesAreAlignedOnATerminal(t *testing.T) {
	var out strings.Builder
	rows := [][]string{{"日本語", "free", ""}, {"e\u0301", "held", ""}, {"🎟🎟", "held", ""},
		{"plain", "free", ""}}
	if err := (table{[]string{"TOKEN", "STATE", "NOTHING"}, rows}).write(&out); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		at := max(strings.Index(line, "STATE"), strings.Index(line, "free"), strings.Index(line, "held"))
		if column := runewidth.StringWidth(line[:at]); column != 8 || strings.Contains(line, "NOTHING") {
			t.Errorf("the second column begins at %d:\n%s", column, line)
		}
	}
}

func TestTimesReadAsPeopleSayThem(t *testing.T) {
	for d, want := range map[time.Duration]string{
		130*time.Second + 400*time.Millisecond: "2m10s ago", -42 * time.Second: "in 42s", 0: "0s ago",
		3 * time.Hour: "3h ago",
	} {
		if got := ago(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

// No line of a help ends before it is full, and none is wider than a terminal likes.
func TestHelpIsFilled(t *testing.T) {
	everyCommand(newRoot(), func(cmd *cobra.Command) {
		if cmd.Long != fill(cmd.Long) {
			t.Errorf("the help of %s is not filled:\n%s", cmd.CommandPath(), cmd.Long)
		}
		for line := range strings.Lines(cmd.Long) {
			if len(line) > helpWidth+1 && line[0] != ' ' {
				t.Errorf("the help of %s has a line of %d bytes", cmd.CommandPath(), len(line))
			}
		}
	})
	if got := fill("a b\nc\n\n  kept\nd\ne"); got != "a b c\n\n  kept\nd e" {
		t.Errorf("filled: %q", got)
	}
}

// What stands for the value of a flag in the help is none of its values, and a flag with few values names and completes
// them all.
func TestPlaceholdersAreNoDefaults(t *testing.T) {
	everyCommand(newRoot(), func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			name, usage := pflag.UnquoteUsage(f)
			values := choices[f.Name]
			if name != "" && (name == f.DefValue || slices.Contains(values, name) || strings.Contains(name, ":")) {
				t.Errorf("%s --%s %s reads as a value", cmd.CommandPath(), f.Name, name)
			}
			for _, value := range values {
				if !strings.Contains(usage, value) {
					t.Errorf("%s --%s does not name %s", cmd.CommandPath(), f.Name, value)
				}
			}
			if _, completes := cmd.GetFlagCompletionFunc(f.Name); values != nil && !completes {
				t.Errorf("%s --%s is not completed", cmd.CommandPath(), f.Name)
			}
		})
	})
}

func everyCommand(cmd *cobra.Command, visit func(cmd *cobra.Command)) {
	visit(cmd)
	for _, c := range cmd.Commands() {
		everyCommand(c, visit)
	}
}
