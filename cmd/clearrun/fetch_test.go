package main

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/pod"
)

func TestImageLimits(t *testing.T) {
	def := image.DefaultLimits()
	for _, tc := range []struct {
		args string
		want func(*image.Limits)
		err  string
	}{
		{"", func(*image.Limits) {}, ""},
		{"--max-image-size 64G", func(l *image.Limits) { l.Bytes = 64 << 30 }, ""},
		{
			"--max-image-files 5 --max-image-depth 6 --max-image-ratio 7",
			func(l *image.Limits) { l.Entries, l.Depth, l.Ratio = 5, 6, 7 }, "",
		},
		{"--max-image-size 0", nil, "out of range"},
		{"--max-image-size many", nil, "--max-image-size"},
		{"--max-image-files -1", nil, "greater than 0"},
	} {
		var o fetchOptions
		f := pflag.NewFlagSet("", pflag.ContinueOnError)
		o.addTo(f)
		if err := f.Parse(strings.Fields(tc.args)); err != nil {
			t.Fatal(err)
		}
		var po pod.Options
		err := o.apply(&po)
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: got %v, want %q", tc.args, err, tc.err)
			}
			continue
		}
		want := def
		tc.want(&want)
		if err != nil || po.Limits != want {
			t.Errorf("%s: got %+v, %v", tc.args, po.Limits, err)
		}
	}
}
