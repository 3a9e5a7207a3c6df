package label_test

import (
	"strings"
	"testing"

	"github.com/clearrun/clearrun/hostrun/label"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		values []string
		want   label.Options
		err    string // in the error
	}{
		{nil, label.Options{}, ""},
		{[]string{"label=disable"}, label.Options{Disable: true}, ""},
		{
			[]string{"label=type:a_t", "label=level:s0:c1,c2", "label=user:u", "label=role:r", "label=filetype:f_t"},
			label.Options{Type: "a_t", Level: "s0:c1,c2", User: "u", Role: "r", FileType: "f_t"},
			"",
		},
		{[]string{"label=type:a_t", "label=type:b_t"}, label.Options{Type: "b_t"}, ""},
		{[]string{"label=disable", "label=type:a_t"}, label.Options{}, "contradicts"},
		{[]string{"label"}, label.Options{}, "want label=type:TYPE"},
		{[]string{"seccomp=unconfined"}, label.Options{}, "want label=type:TYPE"},
		{[]string{"label=kind:x"}, label.Options{}, "want label=type:TYPE"},
		{[]string{"label=type:"}, label.Options{}, "label=type:"},
		{[]string{"label=type:a b"}, label.Options{}, "label=type:a b"},
		{[]string{"label=type:a:b"}, label.Options{}, "label=type:a:b"},
	} {
		got, err := label.Parse(tt.values)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: %+v, %v; want %+v, %q", tt.values, got, err, tt.want, tt.err)
		}
	}
}

// TestCheckRequired: a policy that demands SELinux takes no label that gives up separation.
func TestCheckRequired(t *testing.T) {
	for value, ok := range map[string]bool{
		"label=disable": false, "label=type:spc_t": false, "label=filetype:a_t": false, "label=user:u": false, "label=role:r": false,
		"label=level:s0": false, "label=level:s0:c1": false, "label=level:s0:c1,c2": true,
	} {
		o, err := label.Parse([]string{value})
		if err != nil {
			t.Errorf("%s: %v", value, err)
			continue
		}
		if err := o.CheckRequired(); (err == nil) != ok {
			t.Errorf("%s: %v, want ok: %v", value, err, ok)
		}
	}
}

// FuzzParse: no part of what is accepted can change the shape of a context, in which a
// colon separates and a space or a NUL ends.
func FuzzParse(f *testing.F) {
	f.Add("label=type:a_t")
	f.Add("label=level:s0-s0:c0.c1023")
	f.Add("label=disable")
	f.Fuzz(func(t *testing.T, value string) {
		o, err := label.Parse([]string{value})
		if err != nil {
			return
		}
		for _, part := range []string{o.User, o.Role, o.Type, o.FileType} {
			if strings.ContainsAny(part, ": \t\n\x00") {
				t.Errorf("%q: accepted %q", value, part)
			}
		}
		if strings.ContainsAny(o.Level, " \t\n\x00") {
			t.Errorf("%q: accepted level %q", value, o.Level)
		}
	})
}
