package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/vmm/launch"
)

func TestLineTap(t *testing.T) {
	var out, plain bytes.Buffer
	clock := int64(0)
	tap := &lineTap{out: &out, copy: &plain, now: func() launch.Instant {
		clock++
		return launch.Instant{Nanoseconds: clock, Instructions: uint64(clock * 10)}
	}}
	long := strings.Repeat("x", launch.MaxLine+3)
	for _, s := range []string{"calling  a", "cpi_init\r\n", "\n", long, "\nunfinished"} {
		for i := range len(s) { // a UART writes byte by byte
			if n, err := tap.Write([]byte{s[i]}); n != 1 || err != nil {
				t.Fatal(n, err)
			}
		}
	}
	if want := "calling  acpi_init\r\n\n" + long + "\nunfinished"; plain.String() != want {
		t.Errorf("passed on %q", plain.String())
	}
	var got []string
	for {
		l, err := launch.ReadLine(&out)
		if err != nil {
			break
		}
		got = append(got, fmt.Sprintf("%d-%d %d %.9s", l.First.Nanoseconds, l.Last.Nanoseconds, l.Last.Instructions, l.Text))
	}
	want := []string{"1-2 20 calling  ", "3-4 40 ", "5-6 60 xxxxxxxxx", "7-8 80 xxx"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("lines %q, want %q", got, want)
	}
}
