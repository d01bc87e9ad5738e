package main

import (
	"cmp"
	"fmt"
	"slices"
)

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
