package main

import "testing"

func TestStatParent(t *testing.T) {
	for stat, want := range map[string]int{
		"7 (sh) S 3 7 7 0 -1": 3, "7 (a) S 9 (b) R 12 1": 12, "": 0, "7 (x)": 0, "7 (x) S": 0, "7 (x) S y": 0,
	} {
		if got := statParent(stat); got != want {
			t.Errorf("%q: %d, want %d", stat, got, want)
		}
	}
}
