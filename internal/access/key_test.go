package access

import (
	"strings"
	"testing"

	tms "github.com/manankarani/token-manager"
)

// A key that lost or changed a letter is known for that, whichever it is.
func TestAMistypedKeyIsKnown(t *testing.T) {
	key := NewKey()
	if err := ValidateKey(key); err != nil {
		t.Fatalf("%q: %v", key, err)
	}
	for i := range key {
		other := byte('0')
		if key[i] == other {
			other = '1'
		}
		for _, put := range []string{"", string(other), "é"} {
			bad := key[:i] + put + key[i+1:]
			err := ValidateKey(bad)
			if tms.CodeOf(err) != tms.ErrUnauthenticated || strings.Contains(err.Error(), bad) {
				t.Errorf("%q: %v", bad, err)
			}
		}
	}
	for _, bad := range []string{"", "tms_", "_", key + "\n", " " + key} {
		if ValidateKey(bad) == nil {
			t.Errorf("%q is taken for a key", bad)
		}
	}
}

func TestNoTwoKeysAreAlike(t *testing.T) {
	seen := map[string]bool{}
	for range 10_000 {
		secret := NewKey()[13:35]
		if seen[secret] {
			t.Fatal("a secret was drawn twice")
		}
		seen[secret] = true
	}
}

func TestHashesAreReadAsTheyAreWritten(t *testing.T) {
	hash := HashOf(NewKey())
	if read, err := ParseHash(hash.String()); err != nil || read != hash {
		t.Errorf("%v is read as %v, error %v", hash, read, err)
	}
	digits := hash.String()[7:]
	for _, bad := range []string{"", "sha256:", "sha256:00", hash.String() + "00", digits, "md5:" + digits} {
		if _, err := ParseHash(bad); err == nil {
			t.Errorf("%q is taken for a hash", bad)
		}
	}
}

func TestGrantsAreReadAsTheyAreWritten(t *testing.T) {
	for text, want := range map[string]string{"hold": "hold", "hold@*": "hold", "fill@ci-*": "fill@ci-*", "all": "run",
		"all@x": "run@x", "watch@[ab]?": "watch@[ab]?"} {
		if grant, err := tms.ParseGrant(text); err != nil || grant.String() != want {
			t.Errorf("%q is read as %q, error %v", text, grant, err)
		}
	}
	for _, bad := range []string{"", "hodl", "hold@", "hold@[", "@x", "hold,fill", "HOLD", "hold @x"} {
		if grant, err := tms.ParseGrant(bad); err == nil {
			t.Errorf("%q is taken for %v", bad, grant)
		}
	}
}
