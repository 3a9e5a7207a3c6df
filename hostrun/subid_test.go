package hostrun

import (
	"slices"
	"testing"
)

func TestSubIDs(t *testing.T) {
	names := []string{"1000", "ann"}
	for _, tt := range []struct {
		text string
		want []idRange
	}{
		{"", nil},
		{"ann:100000:65536\n", []idRange{{1, 100000, 65536}}},
		{"bob:1:5\n1000:100000:10\nann:5000:20", []idRange{{1, 100000, 10}, {11, 5000, 20}}},
		{"ann:100000:60000\nann:300000:60000\nann:500000:9\n", []idRange{{1, 100000, 60000}, {60001, 300000, 5536}}},
		// No range, and none of the user's: root, more than there are, no number, no name.
		{"ann:0:10\nann:4294967290:10\nann:x:10\nann:1\nann:1:2:3\nann:7:0\n:1:2\n#ann:1:2\nann::\nann:-1:5\n", nil},
	} {
		if got := parseSubIDs(tt.text, names); !slices.Equal(got, tt.want) {
			t.Errorf("%q: %v, want %v", tt.text, got, tt.want)
		}
	}
}

func FuzzSubIDs(f *testing.F) {
	f.Add("ann:100000:65536\n1000:1:5\nann:4294967295:4294967295\n")
	f.Fuzz(func(t *testing.T, text string) {
		next, total := uint32(1), uint64(0)
		for _, r := range parseSubIDs(text, []string{"1000", "ann"}) {
			total += uint64(r.count)
			if r.inside != next || r.count == 0 || r.outside == 0 || uint64(r.outside)+uint64(r.count) > 1<<32-1 {
				t.Fatalf("%q: %+v", text, r)
			}
			next += r.count
		}
		if total > maxSubIDs {
			t.Fatalf("%q: %d IDs", text, total)
		}
	})
}
