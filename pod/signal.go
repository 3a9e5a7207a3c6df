package pod

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The first and the last of the real-time signals, as glibc counts them (signal(7)): the
// kernel's first two are the C library's own.
const (
	realtimeMin = 34
	realtimeMax = 64
)

// ParseSignal reads a signal as images and users write it (OCI image-spec, config.md,
// StopSignal): SIGQUIT, QUIT, 3, SIGRTMIN+3 or SIGRTMAX-1.
func ParseSignal(s string) (unix.Signal, error) {
	fail := func() (unix.Signal, error) {
		return 0, fmt.Errorf("%.40q is no signal: want a name such as SIGQUIT, or a number from 1 to %d", s, realtimeMax)
	}
	if n, err := strconv.ParseUint(s, 10, 8); err == nil {
		if n == 0 || n > realtimeMax {
			return fail()
		}
		return unix.Signal(n), nil
	}
	name := strings.ToUpper(s)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if n := unix.SignalNum(name); n != 0 {
		return n, nil
	}
	for prefix, base := range map[string]int{"SIGRTMIN": realtimeMin, "SIGRTMAX": realtimeMax} {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		offset := 0
		if rest != "" {
			n, err := strconv.ParseInt(rest, 10, 8)
			if err != nil || rest[0] != '+' && rest[0] != '-' {
				return fail()
			}
			offset = int(n)
		}
		if n := base + offset; n >= realtimeMin && n <= realtimeMax {
			return unix.Signal(n), nil
		}
	}
	return fail()
}
