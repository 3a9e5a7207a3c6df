package main

import "strings"

// oomKills reports whether the text of /proc/vmstat counts any process that the
// kernel killed for want of memory.
func oomKills(vmstat string) bool {
	for line := range strings.Lines(vmstat) {
		if count, ok := strings.CutPrefix(line, "oom_kill "); ok {
			return strings.TrimSpace(count) != "0"
		}
	}
	return false
}
