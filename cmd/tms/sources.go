package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

const (
	configFlag = "config"
	poolsKey   = "pools"
	envPrefix  = "TMS_"
	delimiter  = "/" // of nested keys; the name of a pool may hold a dot
)

// serviceLink matches what Kubernetes puts into the environment for a service that is called tms.
var serviceLink = regexp.MustCompile(`^TMS_(SERVICE_(HOST|PORT)|PORT)(_.*)?$`)

// keyOf returns the name of a flag's setting in the file.
func keyOf(flag string) string { return strings.ReplaceAll(flag, "-", "_") }

// variableOf returns the name of a flag's setting in the environment.
func variableOf(flag string) string { return envPrefix + strings.ToUpper(keyOf(flag)) }

// load sets what the command line left open: from the environment, then from the file. The first to name a setting
// wins.
func (c *config) load(settings *pflag.FlagSet) error {
	variables, err := readEnvironment()
	if err != nil {
		return err
	}
	if err := set(settings, variables, "environment variable", variableOf); err != nil {
		return err
	}
	if c.Config != "" {
		if err := c.loadFile(settings); err != nil {
			return fmt.Errorf("%s: %w", c.Config, err)
		}
	}
	return c.validate()
}

func (c *config) loadFile(settings *pflag.FlagSet) error {
	keys, err := readFile(c.Config)
	if err != nil {
		return err
	}
	if c.Pools, err = decodePools(keys[poolsKey]); err != nil {
		return err
	}
	if c.Keys, err = decodeKeys(keys[keysKey]); err != nil {
		return err
	}
	if c.Issuers, err = decodeIssuers(keys[issuersKey]); err != nil {
		return err
	}
	for _, own := range []string{poolsKey, keysKey, issuersKey} {
		delete(keys, own)
	}
	return set(settings, keys, "key", keyOf)
}

func readEnvironment() (map[string]any, error) {
	k := koanf.New(delimiter)
	err := k.Load(env.Provider(delimiter, env.Opt{Prefix: envPrefix, TransformFunc: meantForTMS}), nil)
	return k.Raw(), err
}

// meantForTMS drops a variable that is empty, which is as good as not given, those of Kubernetes, and those of a tms
// run around this process.
func meantForTMS(name, value string) (string, any) {
	if value == "" || serviceLink.MatchString(name) || slices.Contains(commandVariables, name) {
		return "", nil
	}
	return name, value
}

func readFile(path string) (map[string]any, error) {
	k := koanf.New(delimiter)
	err := k.Load(file.Provider(path), wholeFile{yaml.Parser()})
	return k.Raw(), err
}

// wholeFile reads YAML. It refuses what the library would read only a part of, and helps where its errors do not.
type wholeFile struct{ *yaml.YAML }

func (w wholeFile) Unmarshal(text []byte) (map[string]any, error) {
	if line := secondDocument(text); line > 0 {
		return nil, fmt.Errorf("yaml: line %d: a second document begins; the file must be one", line)
	}
	values, err := w.YAML.Unmarshal(text)
	if err != nil && strings.Contains(err.Error(), "mapping values are not allowed") {
		where := ""
		if !strings.Contains(err.Error(), "line ") { // the library leaves out the first
			where = " in line 1"
		}
		err = fmt.Errorf(`%w%s; a value that ends with a colon, or has one before a space, needs quotes: "memory:"`,
			err,
			where)
	}
	return values, err
}

// secondDocument returns the line in which a second document begins; zero: none does. In YAML a line with the mark at
// its very beginning is one wherever it stands.
func secondDocument(text []byte) int {
	begun, ended, number := false, false, 0
	for line := range strings.Lines(string(text)) {
		number++
		mark, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		empty := mark == "" || strings.HasPrefix(mark, "#") || strings.HasPrefix(line, "%")
		begins := mark == "---" && line[0] == '-'
		if begun && begins || ended && !empty {
			return number
		}
		begun = begun || !empty
		ended = mark == "..." && line[0] == '.'
	}
	return 0
}

// set gives settings the values of one source, except for those that have been set before, whose values are only
// checked.
func set(settings *pflag.FlagSet, values map[string]any, what string, nameOf func(flag string) string) error {
	known := map[string]*pflag.Flag{}
	settings.VisitAll(func(f *pflag.Flag) { known[nameOf(f.Name)] = f })
	delete(known, configFlag) // a file does not name itself

	for _, name := range slices.Sorted(maps.Keys(values)) {
		flag := known[name]
		if flag == nil {
			return fmt.Errorf("unknown %s %s%s", what, name, didYouMean(name, slices.Collect(maps.Keys(known))))
		}
		if flag.Changed {
			flag = new(config).settings().Lookup(flag.Name)
		}
		if err := setOne(flag, values[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func setOne(flag *pflag.Flag, value any) error {
	if list, ok := value.([]any); ok && flag.Value.Type() == new(networks).Type() {
		value = strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", ","), "[]")
	}
	switch value.(type) {
	case nil, []any, map[string]any:
		return fmt.Errorf("must be one value (%s)", flag.Value.Type())
	}
	flag.Changed = true
	text, given := fmt.Sprint(value), flag.Value
	if s, ok := given.(seconds); ok {
		given = s.Value // which has a unit
	}
	return explainValue(flag, text, given.Set(text))
}

// forms says what the values of a flag look like, by its type. Types of our own say it themselves.
var forms = map[string]string{
	"bool":     "true or false",
	"int":      "a whole number",
	"int64":    "a whole number",
	"duration": "a duration such as 90s, 5m or 250ms",
}

// explainValue says in words of ours what is wrong with the value of a flag.
func explainValue(flag *pflag.Flag, text string, err error) error {
	if form, ok := forms[flag.Value.Type()]; ok && err != nil {
		return fmt.Errorf("must be %s, is %q", form, text)
	}
	return err
}
