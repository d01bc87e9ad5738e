package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/knadh/koanf/parsers/yaml"

	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

// services returns the commands of a compose file's services.
func services(t *testing.T, file string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all, err := yaml.Parser().Unmarshal(text)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	commands := map[string][]string{}
	for name, service := range all["services"].(map[string]any) {
		commands[name] = nil
		command, _ := service.(map[string]any)["command"].([]any)
		for _, word := range command {
			commands[name] = append(commands[name], word.(string))
		}
	}
	return commands
}

// What compose files tell TMS is a configuration that it takes, and what they tell Redis one that Redis takes.
func TestComposeFiles(t *testing.T) {
	for file, nodes := range map[string]int{"../../compose.yaml": 1, "../../deploy/compose.ha.yaml": 3} {
		commands := services(t, file)
		redis, sentinels := 0, 0
		for name, command := range commands {
			switch {
			case strings.HasPrefix(name, "redis"):
				redis++
				startsRedis(t, command)
			case strings.HasPrefix(name, "sentinel"):
				sentinels++
			}
		}
		if redis != nodes || nodes > 1 && sentinels != 3 {
			t.Errorf("%s has %d Redis and %d Sentinels", file, redis, sentinels)
		}
		tms := commands["tms"]
		if len(tms) == 0 || tms[0] != "serve" {
			t.Fatalf("%s: the command of tms is %q", file, tms)
		}
		runTMS(t, true, append([]string{"config", "check"}, tms[1:]...)...)
		if lossless, alone := slices.Contains(tms, "--redis-lossless"), nodes == 1; lossless != alone {
			t.Errorf("%s says that nothing is lost: %v", file, lossless)
		}
	}
}

// startsRedis starts a server with the options of the command, but for those that lead to others.
func startsRedis(t *testing.T, command []string) {
	t.Helper()
	var options []string
	for i := 1; i < len(command); i++ {
		if command[i] == "--replicaof" {
			i += 2
			continue
		}
		options = append(options, command[i])
	}
	redistest.New(t, options...).Kill()
}
