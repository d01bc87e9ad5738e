package api

import (
	"bytes"
	"errors"
	"reflect"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	tms "github.com/manankarani/token-manager"
)

var (
	strict        = json.RejectUnknownMembers(true)
	deterministic = json.Deterministic(true)
)

// Decode reads a request's body into out, a pointer to a struct. It refuses, naming the field as in "leases[3].token",
// a field that is unknown or given twice, a value of the wrong type, null or empty, text that is not UTF-8, and
// anything after the end. An empty body leaves out as it is.
func Decode(body []byte, out any) error {
	if len(body) == 0 {
		return nil
	}
	err := json.Unmarshal(body, out, strict)
	switch {
	case err == nil:
		return refuseBlanks(body)
	case len(bytes.TrimSpace(body)) == 0:
		return nil
	}
	return explain(err)
}

// DecodeAnswer reads the body of an answer into out, a pointer to a struct. Fields that it does not know are passed
// over, because the server may be newer.
func DecodeAnswer(body []byte, out any) error { return json.Unmarshal(body, out) }

// refuseBlanks refuses a null or an empty text anywhere in a body that is otherwise sound. Both would read as "not
// given", and a lease_id that is blank by mistake, as from a variable that nobody set, must not read as one that was
// left out on purpose.
func refuseBlanks(body []byte) error {
	if !bytes.Contains(body, []byte("null")) && !bytes.Contains(body, []byte(`""`)) {
		return nil
	}
	dec := jsontext.NewDecoder(bytes.NewReader(body))
	for {
		token, err := dec.ReadToken()
		switch {
		case err != nil:
			return nil // the end: the body was read once already
		case token.Kind() == 'n':
			field := fieldName(dec.StackPointer())
			return tms.Invalid(field, "%smust not be null; leave it out", subject(field))
		case token.Kind() == '"' && token.String() == "" && !mayBeEmpty(dec):
			return tms.Invalid(fieldName(dec.StackPointer()), "must not be empty; leave it out if you mean none")
		}
	}
}

// mayBeEmpty reports whether the empty text that was just read is a name, which its own check refuses, or the value of
// a key of metadata.
func mayBeEmpty(dec *jsontext.Decoder) bool {
	kind, length := dec.StackIndex(dec.StackDepth())
	if kind != '{' {
		return false
	}
	object := dec.StackPointer().Parent().LastToken()
	return length%2 == 1 || object == "metadata" || object == "match"
}

// Encode appends v as JSON to the buffer.
func Encode(buffer *bytes.Buffer, v any) error { return json.MarshalWrite(buffer, v, deterministic) }

// explain turns an error of the JSON library into a refusal that a person can act on.
func explain(err error) *tms.Refusal {
	var semantic *json.SemanticError
	var syntactic *jsontext.SyntacticError
	switch {
	case errors.As(err, &semantic):
		return explainSemantic(semantic)
	case errors.As(err, &syntactic):
		return explainSyntactic(syntactic)
	}
	return tms.Invalid("", "the body is not JSON")
}

func explainSemantic(err *json.SemanticError) *tms.Refusal {
	field := fieldName(err.JSONPointer)
	var refusal *tms.Refusal
	switch {
	case errors.Is(err, json.ErrUnknownName):
		return tms.Invalid(field, "is not a field here")
	case errors.As(err.Err, &refusal):
		return tms.Invalid(field, "%s", refusal.Detail)
	case errors.Is(err, strconv.ErrRange):
		return tms.Invalid(field, "is out of range")
	}
	return tms.Invalid(field, "%smust be %s%s", subject(field), typeName(err.GoType), butIs(err.JSONKind))
}

// subject is what a sentence about no field begins with.
func subject(field string) string {
	if field == "" {
		return "the body "
	}
	return ""
}

func explainSyntactic(err *jsontext.SyntacticError) *tms.Refusal {
	field := fieldName(err.JSONPointer)
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return tms.Invalid(field, "is given twice")
	}
	return tms.Invalid(field, "the body is not JSON at byte %d: %v", err.ByteOffset, err.Err)
}

var typeNames = map[reflect.Type]string{
	reflect.TypeFor[Duration](): `a duration such as "90s"`,
	reflect.TypeFor[NewToken](): "a string, or an object with token and metadata",
}

var kindNames = map[reflect.Kind]string{
	reflect.String: "a string",
	reflect.Int:    "an integer",
	reflect.Bool:   "true or false",
	reflect.Slice:  "an array",
	reflect.Struct: "an object",
	reflect.Map:    "an object",
}

func typeName(t reflect.Type) string {
	if t == nil {
		return "of another type"
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if name, ok := typeNames[t]; ok {
		return name
	}
	return kindNames[t.Kind()]
}

func butIs(kind jsontext.Kind) string {
	switch kind {
	case 'n':
		return ", is null"
	case 't', 'f':
		return ", is a boolean"
	case '"':
		return ", is a string"
	case '0':
		return ", is a number"
	case '{':
		return ", is an object"
	case '[':
		return ", is an array"
	}
	return ""
}

const maxFieldName = 200 // bytes of a field's name in a refusal: it may come from a hostile body

// fieldName turns the pointer /leases/3/token into leases[3].token.
func fieldName(pointer jsontext.Pointer) string {
	var name strings.Builder
	for part := range pointer.Tokens() {
		writePart(&name, part)
		if name.Len() > maxFieldName {
			return strings.ToValidUTF8(name.String()[:maxFieldName], "") + "…"
		}
	}
	return name.String()
}

func writePart(name *strings.Builder, part string) {
	index, err := strconv.ParseUint(part, 10, 32)
	switch {
	case err == nil && name.Len() > 0:
		name.WriteString("[" + strconv.FormatUint(index, 10) + "]")
	case name.Len() > 0:
		name.WriteString("." + part)
	default:
		name.WriteString(part)
	}
}
