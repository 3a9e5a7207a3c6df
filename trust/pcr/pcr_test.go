package pcr

import (
	"strings"
	"testing"
)

// TestExtended takes values that sha256sum gives: of 64 zeros, and of the digest of "abc" behind 32 zeros.
func TestExtended(t *testing.T) {
	abc, err := Parse("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		before, digest Value
		want           string
	}{
		{Value{}, Value{}, "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b"},
		{Value{}, abc, "589f9ffed4c477966bfb8d41f37895b08c69047df8f911d6f3b57fbe08faee8d"},
	} {
		if got := tt.before.Extended(tt.digest); got.String() != tt.want {
			t.Errorf("%v extended with %v is %v, want %s", tt.before, tt.digest, got, tt.want)
		}
	}
}

func TestPristine(t *testing.T) {
	ones, mixed := Value{}, Value{}
	for i := range ones {
		ones[i] = 0xff
	}
	mixed[31] = 1
	twos, err := Parse(strings.Repeat("22", 32))
	if err != nil {
		t.Fatal(err)
	}
	for v, want := range map[Value]bool{{}: true, ones: true, mixed: false, twos: false} {
		if v.Pristine() != want {
			t.Errorf("%v: pristine is %v", v, !want)
		}
	}
}

// FuzzParse reads back what it writes, and nothing else.
func FuzzParse(f *testing.F) {
	f.Add(strings.Repeat("0a", 32))
	f.Add("0a")
	f.Add(strings.Repeat("0A", 32))
	f.Add(strings.Repeat("zz", 32))
	f.Fuzz(func(t *testing.T, s string) {
		v, err := Parse(s)
		if err == nil && v.String() != strings.ToLower(s) {
			t.Errorf("%q was read as %v", s, v)
		}
	})
}
