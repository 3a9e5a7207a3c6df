package ref_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/ref"
)

var (
	sum    = strings.Repeat("0a", 32)
	digest = mustDigest("sha256:" + sum)
)

func mustDigest(s string) image.Digest {
	d, err := image.ParseDigest(s)
	if err != nil {
		panic(err)
	}
	return d
}

func TestParse(t *testing.T) {
	docker := func(name image.Name, tag string, d image.Digest) ref.Ref {
		return ref.Ref{Transport: ref.Docker, Name: name, Tag: tag, Digest: d}
	}
	for _, tc := range []struct {
		in   string
		want ref.Ref
		full string // what String gives; empty: in
	}{
		{"app.aci", ref.Ref{Transport: ref.ACI, Path: "app.aci"}, ""},
		{"/tmp/a b:c.aci", ref.Ref{Transport: ref.ACI, Path: "/tmp/a b:c.aci"}, ""},
		{"./oci:x", ref.Ref{Transport: ref.ACI, Path: "./oci:x"}, ""},
		{"oci:dir", ref.Ref{Transport: ref.OCI, Path: "dir"}, ""},
		{"oci:/a/dir:1.0", ref.Ref{Transport: ref.OCI, Path: "/a/dir", Tag: "1.0"}, ""},
		{"oci:d:localhost:5000/app:1", ref.Ref{Transport: ref.OCI, Path: "d", Tag: "localhost:5000/app:1"}, ""},
		{"oci-archive:a.tar", ref.Ref{Transport: ref.OCIArchive, Path: "a.tar"}, ""},
		{"docker-archive:a.tar:alpine:3", ref.Ref{Transport: ref.DockerArchive, Path: "a.tar", Tag: "alpine:3"}, ""},
		{"docker://localhost:5000/app", docker("localhost:5000/app", "latest", image.Digest{}), "docker://localhost:5000/app:latest"},
		{"docker://localhost/app:v1", docker("localhost/app", "v1", image.Digest{}), ""},
		{"docker://Example.COM/org/app:V1_x", docker("example.com/org/app", "V1_x", image.Digest{}), "docker://example.com/org/app:V1_x"},
		{"docker://example.com/app@sha256:" + sum, docker("example.com/app", "", digest), ""},
		{"docker://example.com/app:v1@sha256:" + sum, docker("example.com/app", "v1", digest), ""},
		{"docker://alpine", docker("docker.io/library/alpine", "latest", image.Digest{}), "docker://docker.io/library/alpine:latest"},
		{"docker://index.docker.io/a/b:1", docker("docker.io/a/b", "1", image.Digest{}), "docker://docker.io/a/b:1"},
		{"docker://org/app:1", docker("docker.io/org/app", "1", image.Digest{}), "docker://docker.io/org/app:1"},
		{"appc:example.com/app", ref.Ref{Transport: ref.Appc, Name: "example.com/app"}, ""},
		{"appc:example.com/app:1.0,os=linux", ref.Ref{
			Transport: ref.Appc, Name: "example.com/app",
			Labels: []image.NameValue{{Name: "version", Value: "1.0"}, {Name: "os", Value: "linux"}},
		}, "appc:example.com/app,version=1.0,os=linux"},
	} {
		got, err := ref.Parse(tc.in)
		if err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("Parse(%q) = %+v, %v; want %+v", tc.in, got, err, tc.want)
			continue
		}
		want := tc.full
		if want == "" {
			want = tc.in
		}
		if got.String() != want {
			t.Errorf("Parse(%q).String() = %q, want %q", tc.in, got, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"", "empty"},
		{"a\nb", "line break"},
		{strings.Repeat("a", 5000), "longer than"},
		{"http://example.com/app.aci", `unknown transport "http"`},
		{"oci:", "want oci:PATH"},
		{"oci:dir:", "nothing behind"},
		{"docker-archive::x", "want docker-archive:PATH"},
		{"docker:alpine", "want docker://"},
		{"docker://", "repository"},
		{"docker://example.com/", "repository"},
		{"docker://example.com/App", "repository"},
		{"docker://example.com/a//b", "repository"},
		{"docker://example.com/../b", "repository"},
		{"docker://example.com/a__-b", "repository"},
		{"docker://example.com/app:", "tag"},
		{"docker://example.com/app:.x", "tag"},
		{"docker://example.com/app:" + strings.Repeat("x", 129), "tag"},
		{"docker://example.com/app@sha256:00", "hex digits"},
		{"docker://example.com/app@sha256-" + sum, "want sha256:"},
		{"docker://example.com/app@md5:" + sum, "unknown algorithm"},
		{"docker://example.com:http/app", "port"},
		{"docker://example.com:99999/app", "port"},
		{"docker://[::1]:5000/app", "image name"},
		{"docker://user:pw@example.com/app", "digest"},
		{"appc:Example.com", "image name"},
		{"appc:example.com,version", "label"},
		{"appc:example.com:1,version=2", "label"},
	} {
		if r, err := ref.Parse(tc.in); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("Parse(%.60q) = %+v, %v; want an error with %q", tc.in, r, err, tc.want)
		}
	}
}

func TestHostAndRepository(t *testing.T) {
	r, err := ref.Parse("docker://localhost:5000/a/b:1")
	if err != nil || r.Host() != "localhost:5000" || r.Repository() != "a/b" || r.IsFile() {
		t.Errorf("got %q, %q, %v", r.Host(), r.Repository(), err)
	}
}

func TestParseRemote(t *testing.T) {
	for in, want := range map[string]image.Name{
		"docker.io/library/alpine:3": "docker.io/library/alpine",
		"localhost:5000/app":         "localhost:5000/app",
		"localhost/app:1":            "localhost/app",
		"latest":                     "",
		"alpine:3":                   "",
		"org/app:1":                  "",
		"example.com/App":            "",
	} {
		if r, ok := ref.ParseRemote(in); ok != (want != "") || ok && r.Name != want {
			t.Errorf("ParseRemote(%q) = %q, %v; want %q", in, r.Name, ok, want)
		}
	}
}

// FuzzParse asks that a reference means the same when it is written in full.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"app.aci", "oci:d:1", "oci-archive:a", "docker-archive:a:b:c", "docker://alpine", "docker://localhost:5000/a/b:1@sha256:" + sum,
		"appc:example.com/a:1,os=linux", "docker://a@b:c/d",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ref.Parse(s)
		if err != nil {
			return
		}
		again, err := ref.Parse(r.String())
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Errorf("Parse(%q) = %+v, but its own form %q gives %+v, %v", s, r, r, again, err)
		}
		if r.Name != "" {
			if _, err := image.ParseName(string(r.Name)); err != nil {
				t.Error(err)
			}
		}
	})
}
