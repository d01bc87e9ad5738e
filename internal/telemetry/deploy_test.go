package telemetry

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

const (
	alertsFile = "../../deploy/prometheus/alerts.yaml"
	alertTests = "../../deploy/prometheus/alerts_test.yaml"
	boardFile  = "../../deploy/grafana/tms.json"
)

func textOf(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The alerts fire in the scenarios of alerts_test.yaml, and only when they should.
func TestTheAlertsFire(t *testing.T) {
	textOf(t, alertsFile) // so that the go command knows on what the test depends
	textOf(t, alertTests)
	for _, args := range [][]string{{"check", "rules", alertsFile}, {"test", "rules", alertTests}} {
		if out, err := exec.Command("promtool", args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

var alert = regexp.MustCompile(`(?m)^      - alert: (\w+)$`)

// Each alert is fired in a scenario, and docs/operate.md says what it means and what to do.
func TestEveryAlertIsTestedAndExplained(t *testing.T) {
	tested, explained := textOf(t, alertTests), textOf(t, "../../docs/operate.md")
	names := alert.FindAllStringSubmatch(textOf(t, alertsFile), -1)
	if len(names) == 0 {
		t.Fatal("there are no alerts")
	}
	for _, found := range names {
		fires := regexp.MustCompile(`alertname: ` + found[1] + `\n +eval_time: \w+\n +exp_alerts:\n +- exp_labels`)
		if !fires.MatchString(tested) {
			t.Errorf("%s is not seen to fire", found[1])
		}
		if strings.Count(explained, "| `"+found[1]+"` |") != 1 {
			t.Errorf("docs/operate.md does not explain %s in a row", found[1])
		}
	}
}

// board is what of Grafana's dashboards the test looks at.
type board struct {
	Panels []struct {
		ID      int
		Title   string
		GridPos struct{ X, Y, W, H int }
		Targets []struct{ Expr string }
	}
}

// The dashboard can be read, and its panels do not lie on one another.
func TestTheBoardIsOne(t *testing.T) {
	var b board
	if err := json.Unmarshal([]byte(textOf(t, boardFile)), &b); err != nil {
		t.Fatal(err)
	}
	taken := map[string]string{}
	for i, p := range b.Panels {
		if p.ID != i+1 || p.Title == "" || len(p.Targets) == 0 {
			t.Errorf("panel %d has no number of its own, no title or no query", i)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				place := fmt.Sprint(x, "/", y)
				if other := taken[place]; other != "" || x >= 24 {
					t.Fatalf("%q lies on %q at %s", p.Title, other, place)
				}
				taken[place] = p.Title
			}
		}
	}
}

var (
	named    = regexp.MustCompile(`\btms_\w+\b`)
	selected = regexp.MustCompile(`\b(tms_\w+?)(?:_bucket|_count|_sum)?\{([^}]*)\}`)
	asked    = regexp.MustCompile(`(\w+)(?:=~|!~|!=|=)"`)
)

// What alerts and panels ask for is there: each metric, and each label that they choose by.
func TestAlertsAndPanelsNameMetrics(t *testing.T) {
	table := tableOfMetrics(t)
	for _, path := range []string{alertsFile, boardFile} {
		text := strings.ReplaceAll(textOf(t, path), `\"`, `"`)
		for _, name := range named.FindAllString(text, -1) {
			base := regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(name, "")
			if !strings.Contains(table, "| `"+name+"` |") && !strings.Contains(table, "| `"+base+"` | histogram") {
				t.Errorf("%s names %s, which is no metric", path, name)
			}
		}
		for _, found := range selected.FindAllStringSubmatch(text, -1) {
			row := regexp.MustCompile("(?m)^\\| `" + found[1] + "` \\|.*$").FindString(table)
			for _, l := range asked.FindAllStringSubmatch(found[2], -1) {
				if !strings.Contains(row, "`"+l[1]+"`") {
					t.Errorf("%s chooses %s by %s, which is no label of it", path, found[1], l[1])
				}
			}
		}
	}
}
