package tms_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

const module = "github.com/manankarani/token-manager"

// Bounds of a file of Go or Lua. A tab is four columns.
const (
	mostLines   = 500
	mostColumns = 120
)

// goPackage is what this test reads of the output of go list.
type goPackage struct {
	ImportPath string
	Standard   bool
	Imports    []string
	Deps       []string
}

// within reports whether the import path is that of the directory in this module, or below it.
func within(path, dir string) bool {
	root := module + "/" + dir
	return path == root || strings.HasPrefix(path, root+"/")
}

func listPackages(t *testing.T) map[string]goPackage {
	t.Helper()
	list := exec.Command("go", "list", "-deps", "-json=ImportPath,Standard,Imports,Deps", "./...")
	list.Stderr = t.Output()
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	packages := map[string]goPackage{}
	decoder := json.NewDecoder(bytes.NewReader(out))
	for {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages[p.ImportPath] = p
	}
}

func TestImportsPointToTheRoot(t *testing.T) {
	packages := listPackages(t)
	if _, ok := packages[module+"/cmd/tms"]; !ok {
		t.Fatalf("go list found no command among %d packages", len(packages))
	}
	for _, p := range packages {
		if p.ImportPath == module || strings.HasPrefix(p.ImportPath, module+"/") {
			checkImports(t, packages, p)
		}
	}
}

func checkImports(t *testing.T, packages map[string]goPackage, p goPackage) {
	t.Helper()
	for _, rule := range layout {
		if !rule.of(p.ImportPath) {
			continue
		}
		imports := p.Imports
		if rule.deep {
			imports = p.Deps
		}
		for _, imported := range imports {
			if rule.forbids(p.ImportPath, packages[imported]) {
				t.Errorf("%s imports %s, but %s", p.ImportPath, imported, rule.says)
			}
		}
	}
}

// layout are the import rules of the house. A deep rule holds for what an import imports as well.
var layout = []struct {
	says    string
	deep    bool
	of      func(path string) bool
	forbids func(path string, imported goPackage) bool
}{
	{
		says:    "the root holds the vocabulary and needs the standard library only, without I/O",
		of:      func(path string) bool { return path == module },
		forbids: func(_ string, i goPackage) bool { return !i.Standard || ioPackage(i.ImportPath) },
	},
	{
		says: "api knows the root and a JSON library only",
		of:   func(path string) bool { return within(path, "api") },
		forbids: func(_ string, i goPackage) bool {
			return !i.Standard && i.ImportPath != module && !strings.Contains(i.ImportPath, "/json")
		},
	},
	{
		says: "stores know no HTTP",
		of:   func(path string) bool { return within(path, "internal/store") },
		forbids: func(_ string, i goPackage) bool {
			return i.ImportPath == "net/http" || within(i.ImportPath, "internal/server") || within(i.ImportPath, "api")
		},
	},
	{
		says:    "the server knows no store",
		deep:    true,
		of:      func(path string) bool { return within(path, "internal/server") },
		forbids: func(_ string, i goPackage) bool { return within(i.ImportPath, "internal/store") },
	},
	{
		says:    "the client is no server",
		deep:    true,
		of:      func(path string) bool { return within(path, "client") },
		forbids: func(_ string, i goPackage) bool { return within(i.ImportPath, "internal/server") },
	},
	{
		says: "imports point to the root, never sideways, except for those that are named here",
		of: func(path string) bool {
			return path != module && !within(path, "cmd") && !within(path, "tmstest") && !within(path, "internal/node")
		},
		forbids: func(path string, i goPackage) bool { return own(i) && !mayImport(path, i.ImportPath) },
	},
}

func own(p goPackage) bool {
	return p.ImportPath == module || strings.HasPrefix(p.ImportPath, module+"/")
}

func ioPackage(path string) bool {
	return slices.Contains([]string{"os", "net", "net/http", "database/sql", "log", "log/slog"}, path)
}

// mayImport names every import of one package of the house by another, apart from the root and cmd/tms.
func mayImport(path, imported string) bool {
	if imported == module {
		return true
	}
	for _, allowed := range [][2]string{
		{"client", "api"},
		{"internal/server", "api"},
		{"internal/bench", "api"},
		{"internal/store", "internal/rules"},
		{"internal/wait", "internal/rules"},
		{"internal/store/redis/redistest", "internal/loopback"},
		{"internal/store/redis", "internal/limit"},
		{"internal/limit/limittest", "internal/limit"},
		{"internal/access", "internal/limit"},
		{"internal/access", "internal/secret"},
		{"internal/audit", "internal/limit"},
		{"internal/audit", "internal/secret"},
		{"internal/server", "internal/limit"},
	} {
		if within(path, allowed[0]) && within(imported, allowed[1]) {
			return true
		}
	}
	return false
}

func TestFilesAndLinesAreShort(t *testing.T) {
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && path != "." {
			return filepath.SkipDir
		}
		if ext := filepath.Ext(path); ext != ".go" && ext != ".lua" {
			return nil
		}
		text, err := os.ReadFile(path)
		if lines := bytes.Count(text, []byte("\n")); lines > mostLines {
			t.Errorf("%s has %d lines, want at most %d", path, lines, mostLines)
		}
		number := 0
		for line := range strings.Lines(string(text)) {
			wide := utf8.RuneCountInString(strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "\t", "    "))
			if number++; wide > mostColumns {
				t.Errorf("%s:%d has %d columns, want at most %d", path, number, wide, mostColumns)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The steps of the two stores have the same names, which docs/architecture.md lists.
func TestTheStoresShareTheirWords(t *testing.T) {
	doc := read(t, "docs/architecture.md")
	_, table, _ := strings.Cut(doc, "## The same words in Go and Lua")
	table, _, _ = strings.Cut(table, "\n## ")
	source := map[string]string{"Go": "", "Lua": ""}
	for language, pattern := range map[string][]string{
		"Go":  {"internal/store/embedded/*.go", "internal/rules/*.go"},
		"Lua": {"internal/store/redis/*.lua"},
	} {
		for _, glob := range pattern {
			files, _ := filepath.Glob(glob)
			for _, file := range files {
				source[language] += read(t, file)
			}
		}
	}
	words := 0
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		for _, word := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(strings.Split(line, "|")[1], -1) {
			words++
			if !regexp.MustCompile(`(?mi)^func \(\w+ [*\w]+\) ` + word[1] + `\(`).MatchString(source["Go"]) {
				t.Errorf("no Go step is called %s", word[1])
			}
			if !regexp.MustCompile(`(?m)^(local )?function ` + word[1] + `\(`).MatchString(source["Lua"]) {
				t.Errorf("no function of the Lua library is called %s", word[1])
			}
		}
	}
	if words < 30 {
		t.Errorf("the table has %d words", words)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
