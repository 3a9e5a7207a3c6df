package image

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"strings"
	"testing"
)

func TestParseDigest(t *testing.T) {
	h256, h512 := strings.Repeat("0a", 32), strings.Repeat("f9", 64)
	for _, tc := range []struct {
		in, want string // want "" means refused
	}{
		{"sha512-" + h512, "sha512-" + h512},
		{"sha256-" + h256, "sha256-" + h256},
		{"sha256:" + h256, "sha256-" + h256},
		{"", ""},
		{"sha512", ""},
		{"sha512-", ""},
		{"-" + h512, ""},
		{"sha512-" + h512[:64], ""},   // appc's short form
		{"sha512-" + h512 + "00", ""}, // too long
		{"sha256-" + h512, ""},
		{"sha1-" + strings.Repeat("0", 40), ""},
		{"SHA512-" + h512, ""},
		{"sha512-" + strings.ToUpper(h512), ""},
		{"sha256-" + strings.Repeat("../", 21) + "a", ""},
		{"sha256-" + h256[:63] + "\n", ""},
	} {
		d, err := ParseDigest(tc.in)
		if got := d.String(); got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("ParseDigest(%q) = %q, %v; want %q", tc.in, got, err, tc.want)
		}
	}
}

func TestDigestJSON(t *testing.T) {
	type doc struct{ D Digest }
	if _, err := json.Marshal(doc{}); err == nil {
		t.Error("the zero digest was written")
	}
	in := doc{SumSHA512(sha512.Sum512([]byte("x")))}
	data, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out doc
	if err := json.Unmarshal(data, &out); err != nil || out != in {
		t.Errorf("got %v, %v; want %v", out, err, in)
	}
	if err := json.Unmarshal([]byte(`{"D":"sha512-00"}`), &out); err == nil {
		t.Error("a short digest was read")
	}
}

func TestNewDigest(t *testing.T) {
	sum := sha256.Sum256(nil)
	if _, err := NewDigest(SHA512, sum[:]); err == nil {
		t.Error("32 bytes were taken for a sha512")
	}
	if _, err := NewDigest("md5", sum[:16]); err == nil {
		t.Error("md5 was taken")
	}
	d, err := NewDigest(SHA256, sum[:])
	if err != nil || d.Algorithm() != SHA256 || len(d.Hex()) != 64 {
		t.Errorf("got %v, %v", d, err)
	}
}

func TestParseName(t *testing.T) {
	for _, tc := range []struct {
		in string
		ok bool
	}{
		{"database", true},
		{"example.com/app", true},
		{"example.com/~user/app_v1", true}, // of the spec's own examples
		{"sub-domain.example.com/org/product/release", true},
		{"", false},
		{"/app", false},
		{"app/", false},
		{"example.com//app", false},
		{"example.com/../app", false},
		{"example.com/./app", false},
		{"Example.com/app", false},
		{"example.com/app name", false},
		{"example.com/app\n", false},
		{"example.com:443/app", true},
		{"localhost:5000", true},
		{"localhost:5000/a__b/c--d", true},
		{"example.com:/app", false},
		{"example.com:0443/app", false},
		{"example.com:65536/app", false},
		{"example.com:+1/app", false},
		{"example.com:1:2/app", false},
		{":5000/app", false},
		{"example.com/app:1", false},
		{"exämple.com", false},
		{strings.Repeat("a", 256), false},
	} {
		if _, err := ParseName(tc.in); (err == nil) != tc.ok {
			t.Errorf("ParseName(%q): %v; want ok=%v", tc.in, err, tc.ok)
		}
	}
}

func TestNameWithin(t *testing.T) {
	for _, tc := range []struct {
		name, prefix Name
		want         bool
	}{
		{"example.com/app", "example.com/app", true},
		{"example.com/app/x", "example.com/app", true},
		{"example.com/apple", "example.com/app", false},
		{"example.com", "example.com/app", false},
		{"example.com/app", "example.com", true},
		{"example.community/app", "example.com", false},
		{"localhost:5000/app", "localhost:5000", true},
		{"localhost:5000/app", "localhost", false},
		{"localhost:5000/app", "localhost:500", false},
		{"anything", "", true},
	} {
		if got := tc.name.Within(tc.prefix); got != tc.want {
			t.Errorf("%q within %q: %v", tc.name, tc.prefix, got)
		}
	}
}

func TestEntryPath(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"manifest", "manifest"},
		{"./manifest", "manifest"},
		{"rootfs/", "rootfs"},
		{"rootfs/a b\\c", "rootfs/a b\\c"},
		{"./", "."},
		{".", "."},
		{"rootfs/\xff", "rootfs/\xff"}, // names need not be UTF-8
		{"", ""},
		{"/rootfs", ""},
		{"//", ""},
		{".//rootfs", ""},
		{"././rootfs", ""},
		{"rootfs//x", ""},
		{"rootfs/./x", ""},
		{"rootfs/..", ""},
		{"../rootfs", ""},
		{"rootfs/x//", ""},
		{"rootfs/a\x00b", ""},
		{"rootfs/" + strings.Repeat("n", 256), ""},
		{strings.Repeat("d/", 2048) + "x", ""},
	} {
		got, err := EntryPath(tc.in)
		if got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("EntryPath(%.40q) = %q, %v; want %q", tc.in, got, err, tc.want)
		}
	}
}

func TestLayerPath(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"a/b", "a/b"},
		{"./a/b/", "a/b"},
		{"/a//./b", "a/b"},
		{"/", "."},
		{"./.", "."},
		{"a/.b/..c", "a/.b/..c"},
		{"a/\xff", "a/\xff"},
		{"", ""},
		{"..", ""},
		{"/..", ""},
		{"a/../b", ""},
		{"a\x00b", ""},
		{strings.Repeat("n", 256), ""},
		{strings.Repeat("/d", 2049), ""},
	} {
		got, err := LayerPath(tc.in)
		if got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("LayerPath(%.40q) = %q, %v; want %q", tc.in, got, err, tc.want)
		}
	}
}

func TestImageIsImmutable(t *testing.T) {
	id := SumSHA512(sha512.Sum512(nil))
	layer, err := NewLayer(id, "rootfs", strings.NewReader(""), 0)
	if err != nil {
		t.Fatal(err)
	}
	app := App{Exec: []string{"/bin/true"}, User: "0", Group: "0", Isolators: []Isolator{{"x", []byte(`{}`)}}}
	img, err := New(Meta{Digest: id, Name: "example.com/app", Apps: []App{app}}, []Layer{layer}, nil)
	if err != nil {
		t.Fatal(err)
	}
	app.Exec[0] = "/bin/false"
	m := img.Meta()
	m.Apps[0].Exec[0] = "/bin/false"
	m.Apps[0].Isolators[0].Value[0] = '['
	m.Name = "evil"
	again := img.Meta()
	if again.Apps[0].Exec[0] != "/bin/true" || string(again.Apps[0].Isolators[0].Value) != "{}" || img.Name() != "example.com/app" {
		t.Errorf("the image changed: %+v", again)
	}
}
