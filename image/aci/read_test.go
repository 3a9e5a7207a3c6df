package aci_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha512"
	"errors"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/aci"
	"github.com/clearrun/clearrun/image/acitest"
)

const goodApp = `{"exec":["/bin/hello","-v"],"user":"1000","group":"/etc/passwd","supplementaryGIDs":[4,5],
	"workingDirectory":"/srv","environment":[{"name":"A","value":"b <c>"}],
	"mountPoints":[{"name":"data","path":"/data","readOnly":true}],
	"ports":[{"name":"http","protocol":"tcp","port":80,"count":2}],
	"eventHandlers":[{"name":"pre-start","exec":["/bin/pre"]}],
	"isolators":[{"name":"resource/memory","value":{"limit":"512Mi"}},{"name":"os/linux/no-new-privileges","value":true}]}`

func read(t testing.TB, data []byte, limits image.Limits) (*image.Image, image.Digest, error) {
	t.Helper()
	img, source, err := aci.Read(context.Background(), bytes.NewReader(data), t.TempDir(), limits)
	if err == nil {
		t.Cleanup(func() { img.Close() })
	}
	return img, source, err
}

func TestRead(t *testing.T) {
	plain := acitest.Tar(t, acitest.Manifest("example.com/hello", goodApp), acitest.Dir("rootfs/"), acitest.Dir("rootfs/bin"), acitest.File("rootfs/bin/hello", "#!"))
	forms := map[string][]byte{"none": plain}
	for _, program := range []string{"gzip", "bzip2", "xz", "zstd"} {
		forms[program] = acitest.Compress(t, program, plain)
	}
	for name, data := range forms {
		t.Run(name, func(t *testing.T) {
			img, source, err := read(t, data, image.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if want := image.SumSHA512(sha512.Sum512(data)); source != want {
				t.Errorf("source %v, want %v", source, want)
			}
			if want := image.SumSHA512(sha512.Sum512(plain)); img.Digest() != want {
				t.Errorf("image ID %v, want %v", img.Digest(), want)
			}
			got, err := io.ReadAll(img.Layers()[0].Open())
			if err != nil || !bytes.Equal(got, plain) {
				t.Errorf("the layer has %d bytes (%v), want the %d of the tar", len(got), err, len(plain))
			}
			checkApp(t, img.Meta())
		})
	}
}

func checkApp(t *testing.T, meta image.Meta) {
	t.Helper()
	want := image.App{
		Exec: []string{"/bin/hello", "-v"}, User: "1000", Group: "/etc/passwd", SupplementaryGIDs: []uint32{4, 5},
		WorkingDirectory: "/srv",
		Environment:      []image.NameValue{{Name: "A", Value: "b <c>"}},
		MountPoints:      []image.MountPoint{{Name: "data", Path: "/data", ReadOnly: true}},
		Ports:            []image.Port{{Name: "http", Protocol: "tcp", Port: 80, Count: 2}},
		EventHandlers:    []image.EventHandler{{Name: "pre-start", Exec: []string{"/bin/pre"}}},
		Isolators: []image.Isolator{
			{Name: "resource/memory", Value: []byte(`{"limit":"512Mi"}`)},
			{Name: "os/linux/no-new-privileges", Value: []byte(`true`)},
		},
	}
	if meta.Name != "example.com/hello" || len(meta.Apps) != 1 || !reflect.DeepEqual(meta.Apps[0], want) {
		t.Errorf("got %+v\nwant %+v", meta, want)
	}
}

// TestRefuse has an archive per rule. Each differs from a good one in one thing.
func TestRefuse(t *testing.T) {
	manifest := acitest.Manifest("example.com/hello", "")
	root := acitest.Dir("rootfs/")
	raw := func(m string) []acitest.Entry { return []acitest.Entry{acitest.File("manifest", m), root} }
	body := func(fields string) []acitest.Entry {
		return raw(`{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/hello"` + fields + `}`)
	}
	with := func(more ...acitest.Entry) []acitest.Entry { return append([]acitest.Entry{manifest, root}, more...) }
	typed := func(typeflag byte, name string) acitest.Entry {
		return acitest.Entry{Header: tar.Header{Typeflag: typeflag, Name: name, Mode: 0o600}}
	}
	app := func(more string) []acitest.Entry { return body(`,"app":{"user":"0","group":"0"` + more + `}`) }
	for _, tc := range []struct {
		name    string
		entries []acitest.Entry
		want    string
	}{
		{"empty archive", nil, "no manifest"},
		{"no manifest", []acitest.Entry{root}, "no manifest"},
		{"no rootfs", []acitest.Entry{manifest}, "no rootfs"},
		{"two manifests", []acitest.Entry{manifest, root, manifest}, "twice"},
		{"two manifests, spelled differently", []acitest.Entry{manifest, root, acitest.File("./manifest", "{}")}, "twice"},
		{"manifest is a folder", []acitest.Entry{acitest.Dir("manifest"), root}, "not a regular file"},
		{"manifest is a symlink", []acitest.Entry{acitest.Link(tar.TypeSymlink, "manifest", "rootfs/m"), root}, "not a regular file"},
		{"below the manifest", with(acitest.File("manifest/x", "")), "holds only"},
		{"rootfs is a file", []acitest.Entry{manifest, acitest.File("rootfs", "")}, "not a folder"},
		{"rootfs is a symlink", []acitest.Entry{manifest, acitest.Link(tar.TypeSymlink, "rootfs", "/")}, "not a folder"},
		{"stray file", with(acitest.File("README", "")), "holds only"},
		{"rootfs with a longer name", with(acitest.File("rootfsx/a", "")), "holds only"},
		{"absolute", with(acitest.File("/rootfs/x", "")), "absolute"},
		{"dot-dot", with(acitest.File("rootfs/../x", "")), `".."`},
		{"dot-dot at the end", with(acitest.Dir("rootfs/..")), `".."`},
		{"double slash", with(acitest.File("rootfs//x", "")), "not allowed"},
		{"duplicate file", with(acitest.File("rootfs/a", "1"), acitest.File("rootfs/a", "2")), "twice"},
		{"duplicate folder", with(acitest.Dir("rootfs/a"), acitest.Dir("rootfs/a/")), "twice"},
		{"folder becomes symlink", with(acitest.Dir("rootfs/a"), acitest.Link(tar.TypeSymlink, "rootfs/a", "/etc")), "twice"},
		{"implied folder becomes symlink", with(acitest.File("rootfs/a/b", ""), acitest.Link(tar.TypeSymlink, "rootfs/a", "/etc")), "replaces a folder"},
		{"through a symlink", with(acitest.Link(tar.TypeSymlink, "rootfs/a", "/etc"), acitest.File("rootfs/a/passwd", "")), "through the symlink"},
		{"deep through a symlink", with(acitest.Link(tar.TypeSymlink, "rootfs/a", "."), acitest.File("rootfs/a/b/c/d", "")), "through the symlink"},
		{"through a file", with(acitest.File("rootfs/a", ""), acitest.File("rootfs/a/b", "")), "not a folder"},
		{"through a hard link to a symlink", with(acitest.Link(tar.TypeSymlink, "rootfs/a", "/etc"),
			acitest.Link(tar.TypeLink, "rootfs/b", "rootfs/a"), acitest.File("rootfs/b/x", "")), "through the symlink"},
		{"hard link to nothing", with(acitest.Link(tar.TypeLink, "rootfs/a", "rootfs/b")), "not there before it"},
		{"hard link forward", with(acitest.Link(tar.TypeLink, "rootfs/a", "rootfs/b"), acitest.File("rootfs/b", "")), "not there before it"},
		{"hard link to itself", with(acitest.Link(tar.TypeLink, "rootfs/a", "rootfs/a")), "not there before it"},
		{"hard link to the manifest", with(acitest.Link(tar.TypeLink, "rootfs/a", "manifest")), "outside of rootfs"},
		{"hard link out", with(acitest.Link(tar.TypeLink, "rootfs/a", "rootfs/../../etc/shadow")), `".."`},
		{"hard link, absolute", with(acitest.Link(tar.TypeLink, "rootfs/a", "/etc/shadow")), "absolute"},
		{"hard link to a folder", with(acitest.Dir("rootfs/d"), acitest.Link(tar.TypeLink, "rootfs/a", "rootfs/d")), "to the folder"},
		{"empty symlink", with(acitest.Link(tar.TypeSymlink, "rootfs/a", "")), "symlink target"},
		{"long name", with(acitest.File("rootfs/"+strings.Repeat("n", 256), "")), "longer than 255"},
		{"contiguous file", with(typed(tar.TypeCont, "rootfs/a")), "unknown type"},
		{"unknown type", with(typed('Z', "rootfs/a")), "unknown type"},
		{"manifest is no JSON", raw("hello"), "manifest"},
		{"manifest with more behind it", raw(manifest.Data + "{}"), "manifest"},
		{"wrong kind", raw(strings.Replace(manifest.Data, "ImageManifest", "PodManifest", 1)), "manifest"},
		{"no name", raw(`{"acKind":"ImageManifest","acVersion":"0.8.11"}`), "name"},
		{"bad name", []acitest.Entry{acitest.Manifest("Example.com", ""), root}, "manifest"},
		{"name with dot-dot", []acitest.Entry{acitest.Manifest("example.com/../x", ""), root}, "name"},
		{"dependency without a name", body(`,"dependencies":[{}]`), "imageName"},
		{"dependency's ID", body(`,"dependencies":[{"imageName":"example.com/base","imageID":"sha512-00"}]`), "sha512"},
		{"relative whitelist", body(`,"pathWhitelist":["bin/sh"]`), "not absolute"},
		{"no user", body(`,"app":{"exec":["/x"],"group":"0"}`), "user"},
		{"relative working directory", app(`,"workingDirectory":"x"`), "workingDirectory"},
		{"negative GID", app(`,"supplementaryGIDs":[-1]`), "out of range"},
		{"huge GID", app(`,"supplementaryGIDs":[4294967295]`), "out of range"},
		{"isolator without value", app(`,"isolators":[{"name":"os/linux/no-new-privileges"}]`), "no value"},
		{"isolator of null", app(`,"isolators":[{"name":"resource/memory","value":null}]`), "no value"},
		{"isolator that takes ages", app(`,"isolators":[{"name":"resource/memory","value":{"limit":"1e999999999"}}]`), "bad quantity"},
		{"isolator that is no quantity", app(`,"isolators":[{"name":"resource/cpu","value":{"limit":"much"}}]`), "bad quantity"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := read(t, acitest.Tar(t, tc.entries...), image.Limits{})
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %q, want it to say %q", err, tc.want)
			}
		})
	}
}

// TestCutShort reads what is left of an image whose end is missing.
func TestCutShort(t *testing.T) {
	whole := acitest.Tar(t, acitest.Manifest("example.com/hello", goodApp), acitest.Dir("rootfs/"), acitest.File("rootfs/file", strings.Repeat("content", 2000)))
	damaged := bytes.Clone(whole)
	damaged[bytes.Index(damaged, []byte("rootfs/"))+150] ^= 1 // in the checksum of a header
	for name, data := range map[string][]byte{
		"in a file": whole[:len(whole)/2], "in a header": whole[:3*512/2], "compressed": acitest.Compress(t, "gzip", whole)[:200],
		"damaged": damaged,
	} {
		if _, _, err := read(t, data, image.Limits{}); err == nil || !strings.Contains(err.Error(), "it is cut short or damaged: fetch it again") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAccept has what may look odd and is fine.
func TestAccept(t *testing.T) {
	manifest := acitest.Manifest("example.com/hello", "")
	for _, tc := range []struct {
		name    string
		entries []acitest.Entry
	}{
		{"manifest last", []acitest.Entry{acitest.Dir("rootfs"), acitest.File("rootfs/a", ""), manifest}},
		{"packed with a leading dot", []acitest.Entry{acitest.Dir("./"), acitest.File("./manifest", manifest.Data), acitest.Dir("./rootfs/"), acitest.File("./rootfs/a", "")}},
		{"folders only implied", []acitest.Entry{manifest, acitest.File("rootfs/a/b/c", "")}},
		{"folder after its content", []acitest.Entry{manifest, acitest.File("rootfs/a/b", ""), acitest.Dir("rootfs/a"), acitest.Dir("rootfs")}},
		{"hard link to a hard link", []acitest.Entry{
			manifest, acitest.File("rootfs/a", "x"),
			acitest.Link(tar.TypeLink, "rootfs/b", "rootfs/a"), acitest.Link(tar.TypeLink, "rootfs/c", "./rootfs/b"),
		}},
		{"symlink out of the root", []acitest.Entry{manifest, acitest.Link(tar.TypeSymlink, "rootfs/a", "../../../etc/shadow")}},
		{"long names", []acitest.Entry{manifest, acitest.File("rootfs/"+strings.Repeat(strings.Repeat("d", 200)+"/", 10)+"f", "x")}},
		{"FIFO", []acitest.Entry{manifest, {Header: tar.Header{Typeflag: tar.TypeFifo, Name: "rootfs/f"}}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, _, err := read(t, acitest.Tar(t, tc.entries...), image.Limits{}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestBytesBehindTheEnd(t *testing.T) {
	plain := acitest.Tar(t, acitest.Manifest("example.com/hello", ""), acitest.Dir("rootfs/"))
	padded := append(bytes.Clone(plain), make([]byte, 10240)...)
	if _, _, err := read(t, padded, image.Limits{}); err != nil {
		t.Errorf("zeros behind the archive: %v", err)
	}
	hidden := append(bytes.Clone(padded), acitest.Tar(t, acitest.File("rootfs/evil", ""))...)
	if _, _, err := read(t, hidden, image.Limits{}); err == nil {
		t.Error("a second archive behind the first was accepted")
	}
	for _, program := range []string{"gzip", "bzip2", "xz", "zstd"} {
		packed := acitest.Compress(t, program, plain)
		for name, tail := range map[string][]byte{
			"garbage":        []byte("garbage"),
			"one byte":       {'x'},
			"second archive": acitest.Compress(t, program, hidden[len(padded):]),
		} {
			if _, _, err := read(t, append(bytes.Clone(packed), tail...), image.Limits{}); err == nil {
				t.Errorf("%s: %s behind the end was accepted", program, name)
			}
		}
		if _, _, err := read(t, packed[:len(packed)-3], image.Limits{}); err == nil {
			t.Errorf("%s: cut short, and accepted", program)
		}
	}
}

func TestLimits(t *testing.T) {
	manifest := acitest.Manifest("example.com/hello", "")
	zeros := acitest.Compress(t, "gzip", acitest.Tar(t, manifest, acitest.File("rootfs/zeros", strings.Repeat("\x00", 65<<20))))
	many := acitest.Tar(t, manifest, acitest.File("rootfs/a", ""), acitest.File("rootfs/b", ""))
	limit := func(change func(*image.Limits)) image.Limits {
		l := image.DefaultLimits()
		change(&l)
		return l
	}
	for _, tc := range []struct {
		name   string
		data   []byte
		limits image.Limits
		want   string
	}{
		{"bytes", zeros, limit(func(l *image.Limits) { l.Bytes = 1 << 20 }), "unpacks to more than 1048576 bytes"},
		{"ratio", zeros, image.Limits{}, "times its size"},
		{"ratio allowed", zeros, limit(func(l *image.Limits) { l.Ratio = 2000 }), ""},
		{"entries", many, limit(func(l *image.Limits) { l.Entries = 2 }), "more than 2 entries"},
		{"entries allowed", many, limit(func(l *image.Limits) { l.Entries = 3 }), ""},
		{"manifest", many, limit(func(l *image.Limits) { l.Manifest = 10 }), "the limit is 10"},
		{"nonsense", many, image.Limits{Bytes: 1}, "must be greater"},
	} {
		_, _, err := read(t, tc.data, tc.limits)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
		}
	}
}

func TestXZDictionary(t *testing.T) {
	packed := acitest.Compress(t, "xz", acitest.Tar(t, acitest.Manifest("example.com/hello", ""), acitest.Dir("rootfs/")))
	const dictionarySize = 16 // the property of the first block's only filter
	packed[dictionarySize] = 40
	if _, _, err := read(t, packed, image.Limits{}); err == nil || !strings.Contains(err.Error(), "dictionary") {
		t.Errorf("a dictionary of 4 GiB: %v", err)
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	dir := t.TempDir()
	_, _, err := aci.Read(ctx, bytes.NewReader(acitest.Tar(t, acitest.Manifest("a", ""), acitest.Dir("rootfs"))), dir, image.Limits{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// FuzzACI asks that whatever is accepted is what it says: its digests are right, and
// a second reading gives the same.
func FuzzACI(f *testing.F) {
	plain := acitest.Tar(f, acitest.Manifest("example.com/hello", goodApp), acitest.Dir("rootfs/"), acitest.File("rootfs/a", "x"),
		acitest.Link(tar.TypeLink, "rootfs/b", "rootfs/a"), acitest.Link(tar.TypeSymlink, "rootfs/c", "a"))
	f.Add(plain)
	for _, program := range []string{"gzip", "bzip2", "xz", "zstd"} {
		f.Add(acitest.Compress(f, program, plain))
	}
	f.Add(acitest.Tar(f, acitest.File("manifest", `{"app":{"isolators":[{"name":"os/linux/no-new-privileges"}]}}`)))
	limits := image.Limits{Bytes: 1 << 20, Entries: 100, Ratio: 100, Manifest: 64 << 10}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		img, source, err := aci.Read(context.Background(), bytes.NewReader(data), dir, limits)
		if err != nil {
			return
		}
		defer img.Close()
		if source != image.SumSHA512(sha512.Sum512(data)) {
			t.Error("the source digest is wrong")
		}
		plain, err := io.ReadAll(img.Layers()[0].Open())
		if err != nil {
			t.Fatal(err)
		}
		if img.Digest() != image.SumSHA512(sha512.Sum512(plain)) {
			t.Error("the image ID is wrong")
		}
		again, _, err := aci.Read(context.Background(), bytes.NewReader(plain), dir, limits)
		if err != nil {
			t.Fatalf("its own tar is refused: %v", err)
		}
		defer again.Close()
		if again.Digest() != img.Digest() || !reflect.DeepEqual(again.Meta(), img.Meta()) {
			t.Error("a second reading differs")
		}
	})
}
