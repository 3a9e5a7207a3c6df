package bootlab

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strings"
)

// Geometry of the picture, in pixels: three columns, of names, bars and figures.
const (
	svgMargin    = 24
	svgNames     = 190
	svgBars      = 640
	svgFigures   = 300
	svgRow       = 26
	svgSmallRow  = 17
	svgHead      = 92
	svgMinBar    = 2
	svgWidth     = 2*svgMargin + svgNames + svgBars + svgFigures
	svgTicks     = 5  // about so many
	svgInitcalls = 12 // the longest
)

// Colours of who is at work, which the legend explains.
const (
	colourHost     = "#64748b"
	colourKernel   = "#c2410c"
	colourInitcall = "#fb923c"
	colourInit     = "#15803d"
	colourApp      = "#7c3aed"
	colourOther    = "#2563eb"
)

var legend = []struct{ colour, text string }{
	{colourHost, "monitor"}, {colourKernel, "guest kernel"}, {colourInit, "PID 1"}, {colourApp, "app"},
}

func colour(name string) string {
	switch {
	case name == "process start" || name == "KVM set-up" || name == "confinement":
		return colourHost
	case strings.HasPrefix(name, "kernel") || name == "power-off":
		return colourKernel
	case strings.HasPrefix(name, "init"):
		return colourInit
	case strings.HasPrefix(name, "app"):
		return colourApp
	}
	return colourOther
}

// picture is an SVG in the making.
type picture struct {
	b     strings.Builder
	y     int
	total int64 // nanoseconds that the bars' column is wide
}

// SVG draws the result: a row for each phase, its bar where the phase lay in time, and
// beside it how long it took and how many instructions.
func (r *Result) SVG(w io.Writer) error {
	p := &picture{total: max(r.total(), 1)}
	calls := longest(r.Initcalls, svgInitcalls)
	height := svgHead + len(r.Phases)*svgRow + len(calls)*svgSmallRow + svgRow + svgMargin
	if len(calls) > 0 {
		height += svgRow
	}
	p.printf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="DejaVu Sans, Verdana, sans-serif" font-size="13">`, svgWidth, height)
	p.printf(`<rect width="%d" height="%d" fill="#ffffff"/>`, svgWidth, height)
	p.text(svgMargin, svgMargin+6, `font-size="18" font-weight="bold"`, r.title())
	p.text(svgMargin, svgMargin+26, `fill="#475569"`, r.Setting.String()+r.many())
	p.axis(height - svgMargin - svgRow)
	p.y = svgHead
	var start int64
	for _, phase := range r.Phases {
		p.row(phase, start, colour(phase.Name), svgRow)
		start += phase.Nanoseconds.Median
	}
	if len(calls) > 0 {
		p.y += svgRow
		p.text(svgMargin, p.y-8, `fill="#475569"`, fmt.Sprintf("the longest of the kernel's %d initcalls", len(r.Initcalls)))
		for _, c := range calls {
			p.row(c, c.Start.Median, colourInitcall, svgSmallRow)
		}
	}
	p.legend(height - svgMargin + 4)
	p.printf(`</svg>`)
	_, err := io.WriteString(w, p.b.String())
	return err
}

func (r *Result) title() string {
	text := fmt.Sprintf("Start of a VM: %s", duration(r.total()))
	if n := r.Counts[countInsn].Median; n > 0 {
		text += fmt.Sprintf(", %s guest instructions", short(n))
	}
	return text
}

func (r *Result) many() string {
	if len(r.Runs) == 1 {
		return "; one run"
	}
	return fmt.Sprintf("; medians of %d runs", len(r.Runs))
}

func (p *picture) printf(format string, args ...any) {
	fmt.Fprintf(&p.b, format+"\n", args...)
}

// text escapes what it writes: names of symbols and files may be anything.
func (p *picture) text(x, y int, attributes, text string) {
	p.printf(`<text x="%d" y="%d" %s>%s</text>`, x, y, attributes, escape(text))
}

func escape(text string) string {
	var escaped strings.Builder
	_ = xml.EscapeText(&escaped, []byte(text)) // to memory: cannot fail
	return escaped.String()
}

// x is where a time lies among the bars.
func (p *picture) x(ns int64) float64 {
	share := math.Min(math.Max(float64(ns)/float64(p.total), 0), 1)
	return svgMargin + svgNames + share*svgBars
}

// axis draws lines of equal time down to bottom.
func (p *picture) axis(bottom int) {
	step := tick(p.total)
	for i := range p.total/step + 1 {
		t := i * step
		x := p.x(t)
		p.printf(`<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#e2e8f0"/>`, x, svgHead-12, x, bottom)
		p.printf(`<text x="%.1f" y="%d" text-anchor="middle" fill="#64748b" font-size="11">%s</text>`, x, svgHead-18, escape(duration(t)))
	}
}

// tick is a round time of which about svgTicks make the total.
func tick(total int64) int64 {
	power := int64(1)
	for power <= total/svgTicks/10 {
		power *= 10
	}
	for _, f := range []int64{2, 5} {
		if power*f >= total/svgTicks {
			return power * f
		}
	}
	return power * 10
}

func (p *picture) row(phase Phase, start int64, colour string, height int) {
	size := `font-size="13"`
	if height < svgRow {
		size = `font-size="11"`
	}
	middle := p.y + height*2/3
	from := p.x(start)
	width := math.Max(p.x(start+phase.Nanoseconds.Median)-from, svgMinBar)
	p.printf(`<rect x="%.1f" y="%d" width="%.1f" height="%d" rx="2" fill="%s"><title>%s</title></rect>`,
		from, p.y+3, width, height-6, colour, escape(phase.Name))
	p.text(svgMargin, middle, size, clip(phase.Name))
	p.text(svgWidth-svgMargin-svgFigures+84, middle, size+` text-anchor="end"`, duration(phase.Nanoseconds.Median))
	share := 100 * float64(phase.Nanoseconds.Median) / float64(p.total)
	p.text(svgWidth-svgMargin-svgFigures+138, middle, size+` text-anchor="end" fill="#64748b"`, fmt.Sprintf("%.1f %%", share))
	if n := phase.Instructions.Median; n > 0 {
		p.text(svgWidth-svgMargin, middle, size+` text-anchor="end" fill="#475569"`, short(n)+" instructions")
	}
	p.y += height
}

// maxName is how many characters of a name fit into its column.
const maxName = 26

func clip(name string) string {
	if r := []rune(name); len(r) > maxName {
		return string(r[:maxName-1]) + "…"
	}
	return name
}

func (p *picture) legend(y int) {
	x := svgMargin + svgNames
	for _, l := range legend {
		p.printf(`<rect x="%d" y="%d" width="12" height="12" rx="2" fill="%s"/>`, x, y-11, l.colour)
		p.text(x+18, y, `fill="#475569" font-size="12"`, l.text)
		x += 130
	}
}

// duration is a time for people: three digits or so.
func duration(ns int64) string {
	switch ms := milliseconds(ns); {
	case ns == 0:
		return "0"
	case ms >= 10_000:
		return fmt.Sprintf("%.1f s", ms/1000)
	case ms >= 1000:
		return fmt.Sprintf("%.2f s", ms/1000)
	case ms >= 100:
		return fmt.Sprintf("%.0f ms", ms)
	case ms >= 1:
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.0f µs", float64(ns)/1000)
}

// short is a count for people.
func short(n int64) string {
	switch {
	case n >= 1_000_000:
		return fmt.Sprintf("%.2f M", float64(n)/1e6)
	case n >= 10_000:
		return fmt.Sprintf("%.0f k", float64(n)/1e3)
	}
	return fmt.Sprint(n)
}
