package api

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"
	tms "github.com/manankarani/token-manager"
)

// TestOneListOfCodes reads the constants of error.go, the table of statuses and the enum of openapi.yaml: they agree.
func TestOneListOfCodes(t *testing.T) {
	want := append(codesOfRoot(t), CodeFailed)
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(statuses))); diff != "" {
		t.Errorf("error.go and the table in status.go differ (-error.go +status.go):\n%s", diff)
	}
	var described []tms.Code
	for _, code := range document(t).Components.Schemas["Code"].Value.Enum {
		described = append(described, tms.Code(code.(string)))
	}
	slices.Sort(described)
	if diff := cmp.Diff(want, described); diff != "" {
		t.Errorf("error.go and openapi.yaml differ (-error.go +openapi.yaml):\n%s", diff)
	}
}

// TestStatuses pins what clients have learnt to expect.
func TestStatuses(t *testing.T) {
	for status, codes := range map[int][]tms.Code{
		400: {tms.ErrInvalidRequest},
		401: {tms.ErrUnauthenticated},
		403: {tms.ErrForbidden, tms.ErrNotPermitted},
		404: {tms.ErrNotFound, tms.ErrNoTokenAvailable, tms.ErrTokenNotFound, tms.ErrPoolNotFound},
		405: {tms.ErrMethodNotAllowed},
		409: {tms.ErrPoolFull, tms.ErrPoolInUse, tms.ErrNotAssigned, tms.ErrNotQuarantined, tms.ErrNotHolder,
			tms.ErrMaxLeaseExceeded,
			tms.ErrRequestIDReused},
		410: {tms.ErrLeaseLost},
		412: {tms.ErrPoolExists},
		413: {tms.ErrBodyTooLarge},
		415: {tms.ErrUnsupportedMedia},
		429: {tms.ErrQuotaExceeded, tms.ErrRateLimited},
		500: {CodeFailed},
		503: {tms.ErrPoolPaused, tms.ErrOverloaded, tms.ErrStoreUnavailable, tms.ErrStoreReset},
	} {
		for _, code := range codes {
			if got := Status(code); got != status {
				t.Errorf("%s has status %d, want %d", code, got, status)
			}
		}
	}
}

func TestEveryCodeHasAnErrorStatusAndASentence(t *testing.T) {
	for code, status := range statuses {
		if status < 400 || status > 599 || meaningOf(code) == "" {
			t.Errorf("%s: status %d, meaning %q", code, status, meaningOf(code))
		}
	}
	if got := Status("nonsense"); got != 500 {
		t.Errorf("a code that nobody knows has status %d, want 500", got)
	}
}

// The table of docs/http.md says of each code what error.go says.
func TestTheDocumentSaysWhatEachCodeMeans(t *testing.T) {
	doc, err := os.ReadFile("../docs/http.md")
	if err != nil {
		t.Fatal(err)
	}
	plain := strings.ReplaceAll(string(doc), "`", "")
	for code, status := range statuses {
		if row := fmt.Sprintf("\n| %s | %d | %s |\n", code, status, meaningOf(code)); !strings.Contains(plain, row) {
			t.Errorf("docs/http.md does not have the line %s", row)
		}
	}
}

func document(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return doc
}

// codesOfRoot returns the values of all constants of type Code in the root package's error.go.
func codesOfRoot(t *testing.T) (codes []tms.Code) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../error.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if ok && len(spec.Values) == 1 && spec.Type != nil && spec.Type.(*ast.Ident).Name == "Code" {
			codes = append(codes, codeOf(t, spec))
		}
		return true
	})
	if len(codes) < 10 {
		t.Fatalf("found only the codes %v", codes)
	}
	return codes
}

func codeOf(t *testing.T, spec *ast.ValueSpec) tms.Code {
	t.Helper()
	text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
	if err != nil {
		t.Fatal(err)
	}
	return tms.Code(text)
}
