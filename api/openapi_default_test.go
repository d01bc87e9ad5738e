package api

import (
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// TestNoRequestHasDefaults: what a schema gives a default for, generators of types make required. A default is told in
// words, and of a policy it is the one that a new pool has.
func TestNoRequestHasDefaults(t *testing.T) {
	doc := document(t)
	for name, schema := range doc.Components.Schemas {
		noDefault(t, name, schema)
	}
	for name, parameter := range doc.Components.Parameters {
		noDefault(t, name, parameter.Value.Schema)
	}
	for path, item := range doc.Paths.Map() {
		for _, operation := range item.Operations() {
			for _, parameter := range operation.Parameters {
				noDefault(t, path+" "+parameter.Value.Name, parameter.Value.Schema)
			}
		}
	}
}

func noDefault(t *testing.T, where string, schema *openapi3.SchemaRef) {
	t.Helper()
	if schema == nil || schema.Value == nil {
		return
	}
	if schema.Value.Default != nil {
		t.Errorf("%s has the default %v", where, schema.Value.Default)
	}
	for name, property := range schema.Value.Properties {
		noDefault(t, where+"."+name, property)
	}
	if schema.Value.Items != nil {
		noDefault(t, where+"[]", schema.Value.Items)
	}
	for _, group := range []openapi3.SchemaRefs{schema.Value.OneOf, schema.Value.AnyOf, schema.Value.AllOf} {
		for _, one := range group {
			noDefault(t, where, one)
		}
	}
}

// TestTheDocumentNamesTheDefaultsOfAPolicy: in words, which are those of the README's table.
func TestTheDocumentNamesTheDefaultsOfAPolicy(t *testing.T) {
	text := string(OpenAPI)
	_, text, _ = strings.Cut(text, "\n    Policy:\n")
	text, _, _ = strings.Cut(text, "\n    WholePolicy:\n")
	if fields, told := len(document(t).Components.Schemas["Policy"].Value.Properties),
		strings.Count(text, "In a new pool "); told != fields {
		t.Errorf("%d of %d fields name their default", told, fields)
	}
}
