package rules

import (
	"encoding/base64"
	"encoding/json"
	"slices"

	tms "github.com/manankarani/token-manager"
)

// States is the order in which a listing goes through the states. Within one it goes by instant, then by value.
var States = []tms.State{tms.Available, tms.Assigned, tms.Cooling, tms.Quarantined}

// Cursor is the place in a listing after its last token: the token's state, its instant in the order of that state
// (last sign of life, lease end, ready at, since), and its value. A token that moves meanwhile does not invalidate it.
type Cursor struct {
	Pool  string    `json:"p"`
	State tms.State `json:"s"`
	At    int64     `json:"a"`
	Value string    `json:"v"`
}

// String returns the cursor as callers carry it.
func (c Cursor) String() string {
	text, _ := json.Marshal(c) // a struct of strings and a number cannot fail
	return base64.RawURLEncoding.EncodeToString(text)
}

// ParseCursor reads what [Cursor.String] wrote for the same pool. Empty text is the zero Cursor: the listing's start.
func ParseCursor(pool, text string) (Cursor, error) {
	if text == "" {
		return Cursor{}, nil
	}
	var c Cursor
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(raw, &c)
	}
	if err != nil || c.Pool != pool || !c.possible() {
		return Cursor{}, tms.Invalid("cursor", "is none that a listing of this pool gave")
	}
	return c, nil
}

// possible reports whether a token can have this place.
func (c Cursor) possible() bool {
	return slices.Contains(States, c.State) && c.At >= 0 && tms.ValidateToken("cursor", c.Value) == nil
}

// Listed returns the states that a listing with this filter goes through, from where the cursor stands. Only assigned
// tokens have a client, so that a filter by client looks at no others.
func Listed(f tms.Filter, c Cursor) []tms.State {
	var states []tms.State
	begun := c.State == ""
	for _, state := range States {
		begun = begun || state == c.State
		wanted := f.State == "" || f.State == state
		if begun && wanted && (f.ClientID == "" || state == tms.Assigned) {
			states = append(states, state)
		}
	}
	return states
}
