package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// The document's table of settings is the one of the code.
func TestConfigurationDocHoldsEverySetting(t *testing.T) {
	var table strings.Builder
	fmt.Fprint(&table, "| flag | environment | file | default | meaning |\n| --- | --- | --- | --- | --- |\n")
	new(config).settings().VisitAll(func(f *pflag.Flag) {
		key := "`" + keyOf(f.Name) + "`"
		if f.Name == configFlag {
			key = ""
		}
		fmt.Fprintf(&table, "| `--%s` | `%s` | %s | %s | %s |\n", f.Name, variableOf(f.Name), key, defaultCell(f),
			meaningOf(f))
	})
	doc, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), table.String()) {
		t.Errorf("docs/configuration.md does not hold the table of settings as it is now:\n\n%s", &table)
	}
}

// The table of what a server says of its durability is the one of the code, and the server says it.
func TestTheReliabilityDocHasWhatAServerSays(t *testing.T) {
	var table strings.Builder
	fmt.Fprint(&table, "| started with | it says |\n| --- | --- |\n")
	for _, mode := range [][]string{
		{"--store", "memory:"}, {"--store", "embedded:DIR"}, {"--store", "embedded:DIR", "--sync", "10ms"},
		{"--store", "redis://HOST"}, {"--store", "redis://HOST", "--redis-lossless"},
		{"--store", "redis+sentinel://HOSTS/SET", "--redis-replicas", "1"},
		{"--store", "redis+sentinel://HOSTS/SET", "--redis-replicas", "2", "--redis-lossless"},
	} {
		c := &config{}
		if err := c.settings().Parse(mode); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&table, "| `%s` | %s |\n", strings.Join(mode, " "), durability(c))
	}
	doc, err := os.ReadFile("../../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), table.String()) {
		t.Errorf("docs/reliability.md does not hold the table of what a server says:\n\n%s", &table)
	}
	p := startServe(t, "--store", "memory:")
	var ready struct{ Durability string }
	p.get(t, "/readyz", &ready)
	said := durability(&config{Store: "memory:"})
	if ready.Durability != said || !strings.Contains(p.stdout.String(), "\ndurability: "+said+"\n") {
		t.Errorf("/readyz says %q, the greeting %s, want %q", ready.Durability, p.stdout, said)
	}
}

// The document's example of pools is a valid file.
func TestConfigurationDocHasAValidExample(t *testing.T) {
	doc, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(doc), "```yaml\n")
	example, _, found := strings.Cut(after, "```")
	file := filepath.Join(t.TempDir(), "tms.yaml")
	if err := os.WriteFile(file, []byte(example), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &config{}
	settings := c.settings()
	c.Config = file
	if err := c.load(settings); err != nil || !found || len(c.Pools) != 2 {
		t.Errorf("pools %v, error %v", c.Pools, err)
	}
}

func defaultCell(f *pflag.Flag) string {
	if f.DefValue == "" {
		return ""
	}
	return "`" + defaultOf(f) + "`"
}
