package bootlab

import (
	"fmt"

	"github.com/clearrun/clearrun/vmm/launch"
)

// span is a phase of one run.
type span struct {
	name               string
	start, nanoseconds int64
	instructions       int64
}

// markNames say what lies before each mark of clearrun's own guest (guest/init has the
// list). A mark of another guest goes by its number.
var markNames = map[uint8]string{
	launch.MarkInit: "kernel, to PID 1", launch.MarkMain: "init: Go runtime",
	0x11: "init: connect", 0x12: "init: receive order", 0x13: "init: mount root", 0x14: "init: populate root",
	launch.MarkStarted: "app exec", 0x16: "app",
}

// phases cuts a run into its parts: the monitor's steps, what lies between the guest's
// marks, and the way from the last mark to the power-off.
func (r *Run) phases() []span {
	var spans []span
	var last launch.Mark
	for _, s := range r.Setup {
		spans = append(spans, span{name: s.Name, start: last.Nanoseconds, nanoseconds: s.Nanoseconds - last.Nanoseconds})
		last.Nanoseconds = s.Nanoseconds
	}
	for i, m := range r.Marks {
		if i == 0 && m.Mark == launch.MarkEntry {
			last.Nanoseconds = m.Nanoseconds // the end of the last step, as good as
			continue
		}
		name, known := markNames[m.Mark]
		if !known {
			name = fmt.Sprintf("to mark %#x", m.Mark)
		}
		spans = append(spans, between(name, last, m))
		last = m
	}
	if r.Outcome == launch.PoweredOff {
		spans = append(spans, between("power-off", last, launch.Mark{Nanoseconds: r.Ended, Instructions: r.Instructions}))
	}
	return spans
}

func between(name string, from, to launch.Mark) span {
	return span{name, from.Nanoseconds, to.Nanoseconds - from.Nanoseconds, int64(to.Instructions - from.Instructions)}
}

// timeline gathers the spans of several runs by their names, and by how often the run had
// the name before.
type timeline struct {
	order []timelineKey
	spans map[timelineKey][]span
}

type timelineKey struct {
	name       string
	occurrence int
}

// maxPhases bounds what guests that mark differently in each run can add up to.
const maxPhases = 8192

func (t *timeline) add(spans []span) {
	if t.spans == nil {
		t.spans = map[timelineKey][]span{}
	}
	seen := map[string]int{}
	for _, s := range spans {
		key := timelineKey{s.name, seen[s.name]}
		seen[s.name]++
		if t.spans[key] == nil {
			if len(t.order) == maxPhases {
				continue
			}
			t.order = append(t.order, key)
		}
		t.spans[key] = append(t.spans[key], s)
	}
}

// list gives the phases in the order of the first run that had them.
func (t *timeline) list() []Phase {
	var phases []Phase
	for _, key := range t.order {
		p := Phase{Name: key.name, spans: t.spans[key]}
		p.Start = statOf(p.spans, func(s span) int64 { return s.start })
		p.Nanoseconds = statOf(p.spans, span.time)
		p.Instructions = statOf(p.spans, span.count)
		phases = append(phases, p)
	}
	return phases
}

func (s span) time() int64  { return s.nanoseconds }
func (s span) count() int64 { return s.instructions }

// values gives one figure of each run.
func values(spans []span, of func(span) int64) []int64 {
	var v []int64
	for _, s := range spans {
		v = append(v, of(s))
	}
	return v
}

func statOf(spans []span, of func(span) int64) Stat { return stat(values(spans, of)) }
