package redis

import (
	"context"
	"embed"
	"fmt"
	"strings"

	"github.com/redis/rueidis"
)

// libraryVersion is the version of the library, which its function tms1_version answers. A server loads its library
// where it finds none or a lesser version, and goes on with a greater one, so that servers of two versions share one
// Redis. Hence a library answers all calls of the versions before it as they did: a function with other arguments or
// answers has another name. The version is raised by one with the first change of the library after a release;
// released.txt has those that were released, and a test holds that none of them changes.
const libraryVersion = 2

//go:embed *.lua
var sources embed.FS

// libraryOf returns the code of the one library, as one of a version, in an order in which everything is defined before
// it is used. Most files keep what they define to themselves, since one block of Lua has at most 200 local
// variables.
func libraryOf(version int64) string {
	return code("tms") + block("names") + block("served", "takeover") + code("step", "records") + block("index") +
		block("writes") + block("expire") + code("choose", "tickets") + block("queue") + code("walk", "requests") +
		block("assign") + block("claim") + block("generate") + block("swift") + block("verbs") + block("pools") +
		block("tokens") + block("draw") + block("keyring") + fmt.Sprintf("local VERSION = %d\n", version) +
		block("fit")
}

func block(names ...string) string { return "do\n" + code(names...) + "end\n" }

func code(names ...string) string {
	var code strings.Builder
	for _, name := range names {
		text, err := sources.ReadFile(name + ".lua")
		if err != nil {
			panic(err) // it is a part of this package
		}
		code.Write(text)
		code.WriteByte('\n')
	}
	return code.String()
}

// load loads the library into every server that takes writes and has a lesser one, or none.
func (l *link) load(ctx context.Context, client rueidis.Client) error {
	l.loading.Lock()
	defer l.loading.Unlock()
	for address, node := range client.Nodes() {
		if err := l.loadNode(ctx, node); err != nil {
			if text, _ := asRedis(err); client.Mode() == rueidis.ClientModeCluster &&
				strings.HasPrefix(text, "READONLY") {
				continue // a replica has it from its master
			}
			return fmt.Errorf("%s: %w", address, err)
		}
	}
	return nil
}

// loadNode takes a library of that name for a lesser one only after it has asked again: another server may load one at
// the same time.
func (l *link) loadNode(ctx context.Context, node rueidis.Client) error {
	for _, replace := range []bool{false, true} {
		loaded, err := loadedVersion(ctx, node)
		if err != nil || loaded >= l.version {
			return err
		}
		if err = node.Do(ctx, l.loadCommand(node.B(), replace)).Error(); err == nil {
			l.log.Info("loaded the function library into redis", "library", libraryName, "version", l.version,
				"before", loaded)
		}
		if text, _ := asRedis(err); replace || !strings.HasSuffix(text, "already exists") {
			return err
		}
	}
	return nil
}

func (l *link) loadCommand(b rueidis.Builder, replace bool) rueidis.Completed {
	if replace {
		return b.FunctionLoad().Replace().FunctionCode(libraryOf(l.version)).Build()
	}
	return b.FunctionLoad().FunctionCode(libraryOf(l.version)).Build()
}

// loadedVersion returns the version of the library that a server has, 0 if it has none, or one from before versions.
func loadedVersion(ctx context.Context, node rueidis.Client) (int64, error) {
	version, err := node.Do(ctx, node.B().Fcall().Function(fnVersion).Numkeys(0).Build()).AsInt64()
	if isUnknownFunction(err) {
		return 0, nil
	}
	return version, err
}
