package secret

import (
	"context"
	"errors"
	"strings"
	"testing"

	tms "github.com/manankarani/token-manager"
)

// What was sealed is opened by the same key for the same purpose, and by nothing else.
func TestSealed(t *testing.T) {
	key, other := Key{1}, Key{2}
	sealed := key.Seal("cursor", "a secret place")
	if text, err := key.Open("cursor", sealed); err != nil || text != "a secret place" {
		t.Errorf("got %q, %v", text, err)
	}
	if strings.Contains(sealed, "secret") || sealed == key.Seal("cursor", "a secret place") {
		t.Error("a sealed text tells of itself")
	}
	if _, err := other.Open("cursor", sealed); err == nil {
		t.Error("another key opens it")
	}
	if _, err := key.Open("cookie", sealed); err == nil {
		t.Error("it is opened for another purpose")
	}
	for i := range len(sealed) {
		digit := "A"
		if sealed[i] == 'A' {
			digit = "B"
		}
		changed := sealed[:i] + digit + sealed[i+1:]
		if text, err := key.Open("cursor", changed); err == nil {
			t.Errorf("changed at %d it is %q", i, text)
		}
		if _, err := key.Open("cursor", sealed[:i]); err == nil {
			t.Errorf("its first %d letters are opened", i)
		}
	}
}

// A mask is that of its words, in their order, and under its key.
func TestMasks(t *testing.T) {
	key := Key{1}
	if got := key.Token("p", "a"); got != key.Mask("token", "p", "a") || len(got) != 32 {
		t.Errorf("the mask is %q", got)
	}
	for what, other := range map[string]string{
		"another pool":  key.Token("q", "a"),
		"another value": key.Token("p", "b"),
		"words joined":  key.Mask("token", "pa"),
		"another key":   Key{2}.Token("p", "a"),
	} {
		if other == key.Token("p", "a") {
			t.Errorf("%s has the same mask", what)
		}
	}
	if got := (Key{}).Token("p", "a"); got != "" {
		t.Errorf("without a key the mask is %q", got)
	}
}

// A store is asked until it has answered once.
func TestAStoreIsAskedUntilItAnswers(t *testing.T) {
	store := &keyed{err: errors.New("away")}
	source := Of(store)
	if _, err := source(t.Context()); err == nil {
		t.Error("there is a key while the store is away")
	}
	store.err = nil
	for range 2 {
		if key, err := source(t.Context()); err != nil || key != (Key{7}) {
			t.Errorf("got %v, %v", key, err)
		}
	}
	if store.asked != 2 {
		t.Errorf("the store was asked %d times, want 2", store.asked)
	}
	drawn := Of(struct{ tms.Store }{})
	first, _ := drawn(t.Context())
	if again, err := drawn(t.Context()); err != nil || again != first || first == (Key{}) {
		t.Errorf("of a store without a key it is %v, then %v, %v", first, again, err)
	}
}

type keyed struct {
	tms.Store
	err   error
	asked int
}

func (s *keyed) InstallationKey(context.Context) ([32]byte, error) {
	s.asked++
	return Key{7}, s.err
}
