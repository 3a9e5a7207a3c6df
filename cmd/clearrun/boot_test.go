package main

import "testing"

func TestParseUntil(t *testing.T) {
	for text, want := range map[string]uint8{"pid1": 1, "init": 0x10, "app": 0x15, "exit": 0, "poweroff": 0, "0x20": 0x20, "255": 255} {
		if got, err := parseUntil(text); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "0", "256", "-1", "apps"} {
		if n, err := parseUntil(bad); err == nil {
			t.Errorf("%q was taken for mark %d", bad, n)
		}
	}
}

func TestBootRefuses(t *testing.T) {
	io := devNull(t)
	for _, args := range [][]string{
		{"vmlinux"},
		{"--memory", "1M"},
		{"--cpus", "0"},
		{"--runs", "0"},
		{"--until", "tomorrow"},
		{"--initrd", "x"},
		{"--kernel", "/nonexistent"},
		{"--kernel", "/proc/self/exe", "--until", "app"},
		{"--symbols", "x"},
		{"--baseline", "/nonexistent"},
		{"--compare", "/nonexistent"},
		{"--compare", "/proc/self/exe", "--until", "app"},
		{"--baseline", "/proc/self/exe"},
	} {
		if code := run(append([]string{"boot"}, args...), io); code != 125 {
			t.Errorf("boot %q: exit code %d, want 125", args, code)
		}
	}
}
