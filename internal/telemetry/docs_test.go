package telemetry

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
)

// TestTheReferenceHasEveryMetric: the table of docs/http.md is the one that a scrape makes.
func TestTheReferenceHasEveryMetric(t *testing.T) {
	text, err := os.ReadFile("../../docs/http.md")
	if err != nil {
		t.Fatal(err)
	}
	if table := tableOfMetrics(t); !strings.Contains(string(text), table) {
		t.Errorf("docs/http.md does not have the table of metrics as it is now:\n\n%s", table)
	}
}

var (
	metric = regexp.MustCompile(`(?m)^# HELP (tms_\w+) (.*)\n# TYPE \w+ (\w+)\n`)
	label  = regexp.MustCompile(`(\w+)="`)
)

func tableOfMetrics(t *testing.T) string {
	t.Helper()
	registry := NewRegistry("1.2.3")
	waited := []tms.AssignRequest{{Wait: time.Second}}
	Wrap(open(t), registry).Assign(t.Context(), tms.DefaultPool, waited)
	Dropped(registry, func() int64 { return 0 })
	AuditDropped(registry, func() int64 { return 0 })
	Limited(registry)("key")
	Requests(registry)("/livez", "GET", 200, 0)
	Sweeps(registry)("p", tms.Expired{}, nil)
	Ready(registry)(true)
	text := scrape(t, registry)
	var table strings.Builder
	fmt.Fprint(&table, "| metric | kind | labels | means |\n| --- | --- | --- | --- |\n")
	for _, m := range metric.FindAllStringSubmatch(text, -1) {
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", m[1], m[3], labelsOf(text, m[1]), m[2])
	}
	return table.String()
}

// labelsOf returns the names of a metric's labels as its first sample has them; of a histogram, as its count has.
func labelsOf(text, name string) string {
	sample := regexp.MustCompile(`(?m)^` + name + `(?:_count)?(\{.*\}| )`).FindString(text)
	var names []string
	for _, found := range label.FindAllStringSubmatch(sample, -1) {
		names = append(names, "`"+found[1]+"`")
	}
	return strings.Join(names, ", ")
}
