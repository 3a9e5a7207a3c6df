package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/clearrun/clearrun/vmm/launch"
	"github.com/clearrun/clearrun/vmrun/bootlab"
)

// sized is a start of a VM of a size, up to the app's exec.
type sized struct {
	memory string
	cpus   string
	bootlab.Run
}

// sizes starts VMs that differ in memory and vCPUs, the first being the size of all
// other measurements.
func (l *lab) sizes() ([]sized, error) {
	list := []sized{
		{memory: "128M", cpus: "1"},
		{memory: "64M", cpus: "1"},
		{memory: "1G", cpus: "1"},
		{memory: "16G", cpus: "1"},
		{memory: "128M", cpus: "2"},
		{memory: "128M", cpus: "8"},
	}
	for i := range list {
		s := &list[i]
		out := l.path("size.json")
		if err := l.tool(l.clearrun, "boot", "--until", "app", "--memory", s.memory, "--cpus", s.cpus, "--json", out); err != nil {
			return nil, err
		}
		f, err := os.Open(out)
		if err != nil {
			return nil, err
		}
		r, err := bootlab.Read(f)
		f.Close()
		if err != nil {
			return nil, err
		}
		s.Run = r.Runs[0]
	}
	return list, nil
}

// exits are those to the monitor, whatever the reason.
func (s sized) exits() (n uint64) {
	for _, count := range s.Exits {
		n += count
	}
	return n
}

func sizesTable(list []sized) string {
	var b strings.Builder
	b.WriteString("What memory and vCPUs add to a start, to the app's exec (`clearrun boot --until app`).\n\n" +
		"| memory | vCPUs | guest instructions to PID 1 | ratio | to the app's exec | interrupts | exits | guest memory touched |\n|---|---|---|---|---|---|---|---|\n")
	first := at(list[0].Report, launch.MarkInit).Instructions
	for _, s := range list {
		pid1, app := at(s.Report, launch.MarkInit), at(s.Report, launch.MarkStarted)
		fmt.Fprintf(&b, "| %s | %s | %s | %.2f | %s | %s | %s | %s |\n", s.memory, s.cpus, count(pid1.Instructions),
			float64(pid1.Instructions)/float64(max(first, 1)), count(app.Instructions), count(app.Interrupts), count(s.exits()), mebibytes(s.GuestRSS))
	}
	return b.String()
}
