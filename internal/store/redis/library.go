package redis

import (
	"embed"
	"strings"
)

//go:embed *.lua
var sources embed.FS

// library is the code of the one library, in an order in which everything is defined before it is used. The verbs'
// files keep what they define to themselves, since one block of Lua has at most 200 local variables.
var library = code("tms", "records", "index", "writes", "deadlines", "choose", "queue", "walk", "requests", "assign") +
	block("claim") + block("generate") + block("leases") + block("pools") + block("tokens")

func block(name string) string { return "do\n" + code(name) + "end\n" }

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
