package api

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	tms "github.com/manankarani/token-manager"
)

// Batch is a list of a request. Of one that is longer than a batch may be, one entry too many is read and the rest
// passed over: a body of some bytes an entry must not become a list of many times its size, only to be refused.
type Batch[T any] []T

// UnmarshalJSONFrom reads an array.
func (b *Batch[T]) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() != '[' {
		return &json.SemanticError{JSONKind: dec.PeekKind()}
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	list := Batch[T]{}
	for dec.PeekKind() != ']' {
		if err := list.readOne(dec); err != nil {
			return err
		}
	}
	*b = list
	_, err := dec.ReadToken()
	return err
}

func (b *Batch[T]) readOne(dec *jsontext.Decoder) error {
	if len(*b) > tms.MaxBatch {
		return dec.SkipValue()
	}
	*b = append(*b, *new(T))
	return json.UnmarshalDecode(dec, &(*b)[len(*b)-1])
}
