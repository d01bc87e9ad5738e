package redis

import (
	"embed"
	"strings"
)

//go:embed *.lua
var sources embed.FS

// library is the code of the one library, in an order in which everything is defined before it is used.
var library = join("tms", "records", "index", "writes", "deadlines", "choose", "queue", "walk",
	"requests", "pools", "generate", "assign", "claim", "leases", "tokens")

func join(names ...string) string {
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
