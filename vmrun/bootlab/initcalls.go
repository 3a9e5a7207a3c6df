package bootlab

import (
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/clearrun/clearrun/vmm/launch"
)

// Initcall is a call of the kernel's start-up that it reported on its console
// (initcall_debug). Its time includes that of its own reports, but not of the one before.
type Initcall struct {
	Name         string
	Start        int64 // nanoseconds, like a mark's
	Nanoseconds  int64
	Instructions int64 `json:",omitempty"`
}

// Initcalls finds initcalls in a console's lines. The guest writes them: what does not
// read like the kernel's own words is left out, and there is a bound to what is kept.
type Initcalls struct {
	// Symbol names the function at an address, for kernels that have no names
	// themselves; nil: it stays an address.
	Symbol func(addr uint64) string

	running map[string]launch.Instant
	ended   []Initcall
}

// maxInitcalls is far more than any kernel has.
const maxInitcalls = 4096

// What the kernel prints (init/main.c, initcall_debug), behind its time stamp if any: the
// function comes as name+offset/length, maybe with the module's name, or as an address.
var (
	callingLine = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`\bcalling  ([\w.]{1,128})(?:\+0x[0-9a-f]+/0x[0-9a-f]+)?(?: \[\w+\])? @ \d+`)
	})
	returnLine = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`\binitcall ([\w.]{1,128})(?:\+0x[0-9a-f]+/0x[0-9a-f]+)?(?: \[\w+\])? returned -?\d+ after `)
	})
)

// Line takes the console's next line.
func (c *Initcalls) Line(l launch.Line) {
	if m := callingLine().FindSubmatch(l.Text); m != nil {
		if c.running == nil {
			c.running = map[string]launch.Instant{}
		}
		if len(c.running) < maxInitcalls {
			c.running[string(m[1])] = l.Last
		}
		return
	}
	m := returnLine().FindSubmatch(l.Text)
	if m == nil {
		return
	}
	name := string(m[1])
	began, ok := c.running[name]
	if !ok || len(c.ended) == maxInitcalls {
		return
	}
	delete(c.running, name)
	c.ended = append(c.ended, Initcall{
		Name: c.symbol(name), Start: began.Nanoseconds, Nanoseconds: l.First.Nanoseconds - began.Nanoseconds,
		Instructions: int64(l.First.Instructions - began.Instructions),
	})
}

func (c *Initcalls) symbol(name string) string {
	hex, isAddress := strings.CutPrefix(name, "0x")
	if addr, err := strconv.ParseUint(hex, 16, 64); err == nil && isAddress && c.Symbol != nil {
		return c.Symbol(addr)
	}
	return name
}

// Take gives the run's initcalls in the order in which they ended, and begins a new run.
func (c *Initcalls) Take() []Initcall {
	taken := c.ended
	c.running, c.ended = nil, nil
	return taken
}

func (r *Run) initcallSpans() []span {
	var spans []span
	for _, c := range r.Initcalls {
		spans = append(spans, span{c.Name, c.Start, c.Nanoseconds, c.Instructions})
	}
	return spans
}
