package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"strconv"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/client"
)

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		err   error
		begun bool
		want  int
	}{
		{nil, true, exitOK},
		{errors.New("unknown flag: --x"), false, exitUsage},
		{errors.New("broken"), true, exitFailure},
		{usage("no"), true, exitUsage},
		{&ended{143, nil}, true, 143},
		{&failure{what: "list", err: tms.ErrPoolNotFound}, true, exitNotFound},
		{errors.Join(&failure{err: tms.ErrNotHolder}, &failure{err: tms.ErrTokenNotFound}), true, exitDenied},
		{fmt.Errorf("asking: %w", client.ErrUnreachable), true, exitUnreachable},
		{context.DeadlineExceeded, true, exitUnreachable},
		{tms.Refuse(tms.ErrStoreUnavailable, "redis is down"), true, exitUnreachable},
		{tms.Code("of_a_newer_server"), true, exitFailure},
	} {
		if got := exitCode(c.err, c.begun); got != c.want {
			t.Errorf("%v ends with %d, want %d", c.err, got, c.want)
		}
	}
}

// Every code of a refusal has an exit code, which is one of those that are listed.
func TestEveryRefusalHasAnExitCode(t *testing.T) {
	listed := map[int]bool{}
	for _, e := range exits {
		listed[e.code] = true
	}
	for _, code := range codesOfRoot(t) {
		if a, ok := advice[code]; !ok || !listed[a.exit] {
			t.Errorf("%s has no exit code that is listed, but %d", code, a.exit)
		}
	}
}

// codesOfRoot returns the values of all constants of type Code in the root package's error.go.
func codesOfRoot(t *testing.T) (codes []tms.Code) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../error.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if ok && len(spec.Values) == 1 && spec.Type != nil && spec.Type.(*ast.Ident).Name == "Code" {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			codes = append(codes, tms.Code(text))
		}
		return true
	})
	if len(codes) < 10 {
		t.Fatalf("found only the codes %v", codes)
	}
	return codes
}

func TestAnErrorSaysWhatIsUnchangedAndWhatToTry(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{&ended{7, nil}, ""},
		{
			&failure{what: "unblock \"a\" of the pool \"p\"", pool: "p", token: "a", err: tms.ErrNotAssigned},
			"tms: unblock \"a\" of the pool \"p\": not_assigned; nothing was changed\ntry: tms lookup --pool p a\n",
		},
		{
			&failure{what: "delete \"a\"", err: io.ErrUnexpectedEOF},
			"tms: delete \"a\": unexpected EOF; whether it was carried out is unknown\n",
		},
		{
			&failure{what: "assign", pool: "p", err: &tms.Refusal{Code: tms.ErrNoTokenAvailable, Detail: "none"}},
			"tms: assign: no_token_available: none; nothing was changed\n" +
				"try: tms generate --pool p, to put tokens into the pool, or tms pool show p, to see what it holds\n",
		},
		{
			&failure{what: "assign", pool: "p", waited: true, err: &tms.Refusal{Code: tms.ErrNoTokenAvailable,
				RetryAfter: 1}},
			"tms: assign: no_token_available; nothing was changed\n" +
				"try: tms tokens --pool p --state assigned, to see who has them, and tms unblock --pool p TOKEN, to " +
				"take one from a client that is dead\n",
		},
		{
			&failure{what: "list", reads: true, retryFor: time.Second, err: client.ErrUnreachable},
			"tms: list: the server did not answer\ntry: --server URL (TMS_SERVER), or tms serve, to start one here, " +
				"or --retry-for 1m, to go on trying for longer than 1s\n",
		},
		{
			errors.Join(&failure{what: "list", pool: "p", reads: true, err: tms.ErrTokenNotFound}, errors.New("more")),
			"tms: list: token_not_found\ntms: more\ntry: tms tokens --pool p, to see which there are\n",
		},
	} {
		var got bytes.Buffer
		if explain(&got, c.err); got.String() != c.want {
			t.Errorf("%v reads %q, want %q", c.err, got.String(), c.want)
		}
	}
}
