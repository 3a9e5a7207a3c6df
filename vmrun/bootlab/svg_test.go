package bootlab

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
)

// rect is a bar of the picture.
type rect struct{ x, width float64 }

// draw gives the bars by their titles, and all text.
func draw(t *testing.T, r *Result) (map[string]rect, string) {
	t.Helper()
	var b bytes.Buffer
	if err := r.SVG(&b); err != nil {
		t.Fatal(err)
	}
	bars := map[string]rect{}
	var all strings.Builder
	var last rect
	title := false
	for d := xml.NewDecoder(&b); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return bars, all.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			title = e.Name.Local == "title"
			if e.Name.Local == "rect" {
				last = rect{attribute(e, "x"), attribute(e, "width")}
			}
		case xml.EndElement:
			title = false
		case xml.CharData:
			if title {
				bars[string(e)] = last
			}
			all.Write(e)
		}
	}
}

func attribute(e xml.StartElement, name string) float64 {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			f, _ := strconv.ParseFloat(a.Value, 64)
			return f
		}
	}
	return 0
}

func TestSVG(t *testing.T) {
	run := boot(90, 8_230_000)
	run.Initcalls[0].Name = `<script>"&`
	bars, text := draw(t, Gather(setting, []Run{run, run}))
	for _, want := range []string{
		"Start of a VM: 100 ms, 8.23 M guest instructions", "medians of 2 runs", "kernel, to PID 1", "90.0 ms", "90.0 %", "8.23 M instructions",
		"2 initcalls", `<script>"&`, "monitor", "20.0 ms",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	const left = svgMargin + svgNames
	for name, want := range map[string]rect{
		"process start": {left, 0.03 * svgBars}, "kernel, to PID 1": {left + 0.05*svgBars, 0.9 * svgBars},
		"pci_init": {left + 0.08*svgBars, 0.04 * svgBars},
	} {
		if got := bars[name]; got.x-want.x > 0.1 || want.x-got.x > 0.1 || got.width-want.width > 0.1 || want.width-got.width > 0.1 {
			t.Errorf("%s: bar %+v, want %+v", name, got, want)
		}
	}
}

func TestTick(t *testing.T) {
	for total, want := range map[int64]int64{0: 2, 1: 2, 9: 2, 10: 2, 99: 20, 100: 20, 24_000: 5000, 9e9: 2e9, 1 << 62: 1e18} {
		got := tick(total)
		if got != want {
			t.Errorf("tick of %d is %d, want %d", total, got, want)
		}
		if n := total / got; n > 2*svgTicks {
			t.Errorf("%d ticks in %d", n, total)
		}
	}
}
