package image

import (
	"math/big"
	"regexp"
	"strings"
	"testing"
)

func TestParseSize(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want uint64
	}{
		{"0", 0},
		{"1", 1},
		{"1b", 1},
		{"512k", 512 << 10},
		{"512M", 512 << 20},
		{"512mb", 512 << 20},
		{"512MiB", 512 << 20},
		{"1G", 1 << 30},
		{"1.5GiB", 3 << 29},
		{"0.1g", 107374182},
		{"0.5", 0},
		{"2T", 2 << 40},
		{"1p", 1 << 50},
		{"8191P", 8191 << 50},
		{"9223372036854775807", 1<<63 - 1},
		{"007k", 7 << 10},
	} {
		if got, err := ParseSize(tc.in); err != nil || got != tc.want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", tc.in, got, err, tc.want)
		}
	}
	for _, bad := range []string{
		"", " ", "M", "-1", "+1", "-1M", "1 M", " 1M", "1M ", "1,5G", ".5G", "1.G", "1.5.5G", "1e3", "0x10", "1E",
		"1Mi", "1bb", "1kbps", "1MM", "1é", "\u0661", "1\x00", "NaN", "inf", "8192P", "9223372036854775808",
		"99999999999999999999", "1.0000000001G", "18446744073709551616k",
	} {
		got, err := ParseSize(bad)
		if err == nil {
			t.Errorf("ParseSize(%q) = %d", bad, got)
		} else if !strings.Contains(err.Error(), "size ") {
			t.Errorf("ParseSize(%q): %q does not name the value", bad, err)
		}
	}
}

func TestFormatSize(t *testing.T) {
	for n, want := range map[uint64]string{0: "0B", 1: "1B", 1023: "1023B", 1024: "1K", 3 << 29: "1536M", 1 << 30: "1G", 1<<63 - 1: "9223372036854775807B", 1 << 62: "4096P"} {
		got := FormatSize(n)
		if got != want {
			t.Errorf("FormatSize(%d) = %q, want %q", n, got, want)
		}
		if back, err := ParseSize(got); err != nil || back != n {
			t.Errorf("%q is read as %d, %v", got, back, err)
		}
	}
}

// FuzzParseSize compares with arithmetic that cannot overflow.
func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"0", "512M", "1.5GiB", "0.999999999P", "8191.999P", "-1", "1 M", "1..5"} {
		f.Add(s)
	}
	grammar := regexp.MustCompile(`^([0-9]+)(\.[0-9]{1,9})?(?:(?i:([kmgtp])(?:i?b)?)|[bB])?$`)
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseSize(s)
		m := grammar.FindStringSubmatch(s)
		if m == nil {
			if err == nil {
				t.Fatalf("%q was read as %d", s, got)
			}
			return
		}
		want, _ := new(big.Rat).SetString(m[1] + m[2])
		shift := uint(0)
		if m[3] != "" {
			shift = uint(10 * (1 + strings.Index("kmgtp", strings.ToLower(m[3]))))
		}
		want.Mul(want, new(big.Rat).SetInt(new(big.Int).Lsh(big.NewInt(1), shift)))
		whole := new(big.Int).Quo(want.Num(), want.Denom())
		if fits := whole.IsInt64(); fits != (err == nil) || fits && whole.Uint64() != got {
			t.Errorf("%q was read as %d, %v; want %v", s, got, err, whole)
		}
	})
}

func TestAboutSize(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 3 << 29: "1.5 GiB", 1<<64 - 1: "16.0 EiB"} {
		if got := AboutSize(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
