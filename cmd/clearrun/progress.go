package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/clearrun/clearrun/image/registry"
)

// progressBar shows a download on one line of a terminal.
type progressBar struct {
	w     io.Writer
	began time.Time
	last  time.Time // when it was drawn
	first int64     // bytes that were there before
}

func newProgressBar(w io.Writer) *progressBar { return &progressBar{w: w} }

// What the bar looks like.
const (
	pullBarWidth    = 30
	pullBarInterval = 100 * time.Millisecond
)

// show draws the bar, at most every pullBarInterval and at the end.
func (b *progressBar) show(p registry.Progress) {
	now := time.Now()
	if b.began.IsZero() {
		b.began, b.first = now, p.Done
	}
	done := p.Done == p.Total
	if !done && now.Sub(b.last) < pullBarInterval {
		return
	}
	b.last = now
	fmt.Fprintf(b.w, "\r\x1b[K%s", progressLine(p, p.Done-b.first, now.Sub(b.began)))
	if done {
		fmt.Fprintln(b.w)
	}
}

// progressLine words the progress; got bytes came in the time.
func progressLine(p registry.Progress, got int64, in time.Duration) string {
	filled := pullBarWidth
	if p.Total > 0 {
		filled = int(max(0, min(p.Done, p.Total)) * pullBarWidth / p.Total)
	}
	const mebi = 1 << 20
	line := fmt.Sprintf("clearrun: %d layers [%s%s] %.1f of %.1f MiB", p.Layers,
		strings.Repeat("=", filled), strings.Repeat(" ", pullBarWidth-filled), float64(p.Done)/mebi, float64(p.Total)/mebi)
	if seconds := in.Seconds(); seconds > 0 && got > 0 {
		line += fmt.Sprintf(", %.1f MiB/s", float64(got)/mebi/seconds)
	}
	return line
}
