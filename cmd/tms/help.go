package main

import (
	"strings"

	"github.com/spf13/cobra"
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
