package discovery_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/discovery"
)

func TestParse(t *testing.T) {
	labels := discovery.DefaultLabels([]image.NameValue{{Name: "version", Value: "1.0/x"}})
	const template = "https://storage.example.com/{os}/{arch}/{name}-{version}.{ext}"
	tag := func(name, content string) string { return `<meta name="` + name + `" content="` + content + `">` }
	place := func(base string, keys ...string) discovery.Place {
		return discovery.Place{Image: base + ".aci", Signature: base + ".aci.asc", Keys: keys}
	}
	good := place("https://storage.example.com/linux/amd64/example.com/app-1.0%2Fx")
	for _, tc := range []struct {
		name, page string
		want       discovery.Place // zero: nothing is found
	}{
		{"plain", tag("ac-discovery", "example.com "+template), good},
		{"in a page", "<!DOCTYPE html><html><head>" + tag("viewport", "x y") + tag("ac-discovery", "example.com/app\n "+template) + "</head><body><p>", good},
		{"self-closing", strings.Replace(tag("ac-discovery", "example.com "+template), ">", "/>", 1), good},
		{"the first that fits", tag("ac-discovery", "example.com/apple https://a.example/{name}.{ext}") +
			tag("ac-discovery", "example.com https://b.example/{color}.{ext}") + tag("ac-discovery", "example.com "+template) +
			tag("ac-discovery", "example.com https://c.example/{name}.{ext}"), good},
		{
			"keys", tag("ac-discovery", "example.com "+template) + tag("ac-discovery-pubkeys", "example.com https://example.com/key.asc") +
				tag("ac-discovery-pubkeys", "example.com http://example.com/key.asc") + tag("ac-discovery-pubkeys", "other.com https://other.com/key.asc"),
			place("https://storage.example.com/linux/amd64/example.com/app-1.0%2Fx", "https://example.com/key.asc"),
		},
		{"nothing", "<html></html>", discovery.Place{}},
		{"in a comment", "<!-- " + tag("ac-discovery", "example.com "+template) + " -->", discovery.Place{}},
		{"no TLS", tag("ac-discovery", "example.com http://a.example/{name}.{ext}"), discovery.Place{}},
		{"a file", tag("ac-discovery", "example.com file:///etc/{name}.{ext}"), discovery.Place{}},
		{"no extension", tag("ac-discovery", "example.com https://a.example/{name}"), discovery.Place{}},
		{"no prefix", tag("ac-discovery", template), discovery.Place{}},
		{"of somebody else", tag("ac-discovery", "example.community "+template), discovery.Place{}},
	} {
		got, err := discovery.Parse(tc.page, "example.com/app", labels)
		if !reflect.DeepEqual(got, tc.want) || (err == nil) != (tc.want.Image != "") {
			t.Errorf("%s: got %+v, %v; want %+v", tc.name, got, err, tc.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`<meta name="ac-discovery" content="example.com https://a.example/{name}-{version}.{ext}">`)
	f.Add(`<META NAME=ac-discovery-pubkeys CONTENT='example.com https://a.example/k'/><script><meta`)
	f.Fuzz(func(t *testing.T, page string) {
		place, err := discovery.Parse(page, "example.com/app", discovery.DefaultLabels(nil))
		if err != nil {
			return
		}
		for _, u := range append(place.Keys, place.Image, place.Signature) {
			if !strings.HasPrefix(strings.ToLower(u), "https://") {
				t.Errorf("%q is not HTTPS", u)
			}
		}
	})
}
