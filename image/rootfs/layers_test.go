package rootfs_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/image/rootfs"
)

// Entries of a layer, as the tests of ACIs have them.
type entry = acitest.Entry

var (
	dir  = acitest.Dir
	file = acitest.File
)

func hard(name, target string) entry { return acitest.Link(tar.TypeLink, name, target) }
func soft(name, target string) entry { return acitest.Link(tar.TypeSymlink, name, target) }

// whiteout hides name, which may have a folder.
func whiteout(name string) entry {
	return file(filepath.Join(filepath.Dir(name), ".wh."+filepath.Base(name)), "")
}

// layered makes an image of layers, lowest first.
func layered(t testing.TB, archives ...[]byte) *image.Image {
	t.Helper()
	var layers []image.Layer
	all := sha256.New()
	for _, data := range archives {
		all.Write(data)
		sum := sha256.Sum256(data)
		id, err := image.NewDigest(image.SHA256, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		layer, err := image.NewLayer(id, "", bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		layers = append(layers, layer)
	}
	digest, err := image.NewDigest(image.SHA256, all.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	img, err := image.New(image.Meta{Digest: digest, Name: "example.com/layers"}, layers, nil)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// scenarios are stacks of layers and what must be left of them: names, those of a
// hard link joined by "=", with the file's content behind a colon.
var scenarios = []struct {
	name   string
	layers [][]entry
	want   string
}{
	{"a hard link outlives its first name", [][]entry{
		{dir("."), file("a", "A"), hard("b", "a"), hard("c", "b")},
		{whiteout("a")},
	}, "b=c:A"},
	{"a hard link outlives the folder of its first name", [][]entry{
		{dir("."), dir("d"), file("d/a", "A"), hard("b", "d/a")},
		{whiteout("d")},
	}, "b:A"},
	{"a replaced name leaves the other names alone", [][]entry{
		{dir("."), file("a", "A"), hard("b", "a"), hard("c", "a")},
		{file("a", "new")},
	}, "a:new b=c:A"},
	{"a hard link to a file of a lower layer", [][]entry{
		{dir("."), file("a", "A")},
		{hard("b", "a")},
	}, "a=b:A"},
	{"a whiteout before and behind the file that it does not hide", [][]entry{
		{dir("."), file("a", "old"), file("b", "old")},
		{whiteout("a"), file("a", "new"), file("b", "new"), whiteout("b")},
	}, "a:new b:new"},
	{"an opaque folder hides lower layers only, wherever it stands", [][]entry{
		{dir("."), dir("d"), file("d/low", "1"), dir("d/sub"), file("d/sub/low", "2"), dir("e"), file("e/low", "3")},
		{dir("d"), file("d/high", "4"), file("d/.wh..wh..opq", ""), dir("e"), file("e/.wh..wh..opq", ""), file("e/high", "5")},
	}, "d/ d/high:4 e/ e/high:5"},
	{"a folder that is whited out and made again has nothing of before", [][]entry{
		{dir("."), dir("d"), file("d/low", "1")},
		{dir("d"), file("d/high", "2"), whiteout("d")},
	}, "d/ d/high:2"},
	{"whiteouts reach through several layers", [][]entry{
		{dir("."), dir("d"), file("d/a", "1")},
		{file("d/b", "2")},
		{whiteout("d/a"), whiteout("d/b"), file("d/c", "3")},
		{whiteout("d/c")},
	}, "d/"},
	{"a file comes back in a later layer", [][]entry{
		{dir("."), file("a", "1")},
		{whiteout("a")},
		{file("a", "3")},
	}, "a:3"},
	{"a file in place of a folder, and the reverse", [][]entry{
		{dir("."), dir("d"), file("d/x", "1"), file("f", "2")},
		{file("d", "now a file"), dir("f"), file("f/x", "3")},
	}, "d:now a file f/ f/x:3"},
	{"a folder's own entry comes late and changes only itself", [][]entry{
		{dir("."), dir("d"), file("d/x", "1")},
		{dir("d")},
	}, "d/ d/x:1"},
	{"a way through a symlink", [][]entry{
		{dir("."), dir("usr"), dir("usr/lib"), soft("lib", "usr/lib"), soft("abs", "/lib"), soft("up", "../../usr")},
		{file("lib/a", "1"), file("abs/b", "2"), file("up/c", "3"), hard("lib/d", "abs/a")},
	}, "abs> lib> up> usr/ usr/c:3 usr/lib/ usr/lib/a=usr/lib/d:1 usr/lib/b:2"},
	{"a whiteout in what was a symlink", [][]entry{
		{dir("."), dir("usr"), file("usr/a", "1"), soft("lib", "usr")},
		{dir("lib"), file("lib/.wh..wh..opq", ""), file("lib/b", "2")},
	}, "lib/ lib/b:2 usr/ usr/a:1"},
	{"names of AUFS", [][]entry{
		{dir("."), file(".wh..wh.aufs", ""), dir(".wh..wh.plnk"), file(".wh..wh.plnk/1.2", "x"), file("a", "1")},
	}, "a:1"},
	{"nothing to hide", [][]entry{
		{dir("."), file("f", "1")},
		{whiteout("nothing"), whiteout("no/where"), whiteout("f/x")},
	}, "f:1"},
	{"an opaque root", [][]entry{
		{dir("."), file("a", "1"), dir("d"), file("d/b", "2")},
		{file(".wh..wh..opq", ""), file("c", "3")},
	}, "c:3"},
	{"names as some builders write them", [][]entry{
		{dir("./"), dir("./d/"), file("/d/a", "1"), file("d//./b", "2"), hard("/c", "/d/a")},
	}, "c=d/a:1 d/ d/b:2"},
}

// summary puts what is in a rendered image into the words of scenarios.
func summary(files map[string]summarized) string {
	var lines []string
	for name, f := range files {
		if f.first == "" {
			lines = append(lines, strings.Join(append([]string{name}, f.others...), "=")+f.text)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, " ")
}

func TestLayers(t *testing.T) {
	for _, tc := range scenarios {
		t.Run(tc.name, func(t *testing.T) {
			f, _ := render(t, layered(t, archives(t, tc.layers)...))
			if got := summary(summarize(t, f)); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func archives(t testing.TB, layers [][]entry) [][]byte {
	var data [][]byte
	for _, entries := range layers {
		data = append(data, acitest.Tar(t, entries...))
	}
	return data
}

// TestRefuseLayers has layers that mean nothing.
func TestRefuseLayers(t *testing.T) {
	for name, entries := range map[string][]entry{
		"whiteout of nothing":    {file("d/.wh.", "")},
		"whiteout of .":          {file("d/.wh..", "")},
		"whiteout of ..":         {file("d/.wh...", "")},
		"file in a whiteout":     {file(".wh.d/x", "")},
		"way out":                {file("d/../../x", "")},
		"link out":               {hard("x", "../../etc/passwd")},
		"link to nothing":        {hard("x", "y")},
		"link to a folder":       {dir("d"), hard("x", "d")},
		"link to a later file":   {hard("x", "y"), file("y", "")},
		"below a file":           {file("a", ""), file("a/b", "")},
		"symlinks in a circle":   {soft("a", "b"), soft("b", "a"), file("a/x", "")},
		"a root that is no root": {file(".", "x")},
		"unknown type":           {{Header: tar.Header{Typeflag: '9', Name: "x"}}},
	} {
		f, err := os.Create(filepath.Join(t.TempDir(), "out"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = rootfs.Render(context.Background(), layered(t, acitest.Tar(t, entries...)), image.Limits{}, f)
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
		f.Close()
	}
}

// TestACIHasNoWhiteouts renders such names as the files that they are there.
func TestACIHasNoWhiteouts(t *testing.T) {
	f, _ := render(t, open(t, acitest.Tar(t, acitest.Manifest("a", ""), dir("rootfs"),
		file("rootfs/a", "1"), file("rootfs/.wh.a", "2"), file("rootfs/.wh..wh..opq", "3"))))
	if got := summary(summarize(t, f)); got != ".wh..wh..opq:3 .wh.a:2 a:1" {
		t.Errorf("got %s", got)
	}
}

// layout writes an OCI image layout that umoci unpacks (OCI image-spec, image-layout.md).
func layout(t *testing.T, archives [][]byte) string {
	t.Helper()
	root := t.TempDir()
	blobs := filepath.Join(root, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(path string, data []byte) {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	type object = map[string]any
	blob := func(kind string, data []byte) object {
		digest := fmt.Sprintf("%x", sha256.Sum256(data))
		write(filepath.Join(blobs, digest), data)
		return object{"mediaType": "application/vnd.oci.image." + kind, "digest": "sha256:" + digest, "size": len(data)}
	}
	encode := func(v any) []byte {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	var layers, ids []any
	for _, data := range archives {
		layer := blob("layer.v1.tar", data)
		layers, ids = append(layers, layer), append(ids, layer["digest"])
	}
	config := blob("config.v1+json", encode(object{
		"architecture": "amd64", "os": "linux", "rootfs": object{"type": "layers", "diff_ids": ids},
	}))
	manifest := blob("manifest.v1+json", encode(object{"schemaVersion": 2, "config": config, "layers": layers}))
	manifest["annotations"] = object{"org.opencontainers.image.ref.name": "latest"}
	write(filepath.Join(root, "index.json"), encode(object{"schemaVersion": 2, "manifests": []any{manifest}}))
	write(filepath.Join(root, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`))
	return root
}

// TestLayersEqualUmoci compares every field of every file with what umoci unpacks.
func TestLayersEqualUmoci(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: owners, devices, mounts")
	}
	umoci, err := exec.LookPath("umoci")
	if err != nil {
		t.Skip("no umoci")
	}
	compare := func(t *testing.T, data [][]byte) {
		t.Helper()
		f, _ := render(t, layered(t, data...))
		bundle := filepath.Join(t.TempDir(), "root")
		if out, err := exec.Command(umoci, "raw", "unpack", "--image", layout(t, data)+":latest", bundle).CombinedOutput(); err != nil {
			t.Fatalf("umoci: %v: %s", err, out)
		}
		want, got := describe(t, bundle), mounted(t, f.Name())
		for name, line := range got {
			got[name] = strings.Replace(line, ` user.empty=""`, "", 1) // umoci loses those; tar does not
		}
		same(t, got, want)
	}
	for _, tc := range scenarios {
		if slices.Contains(umociDiffers, tc.name) {
			continue
		}
		t.Run(tc.name, func(t *testing.T) { compare(t, archives(t, tc.layers)) })
	}
	t.Run("everything", func(t *testing.T) { compare(t, everythingLayered(t)) })
}

// umociDiffers are the scenarios that umoci 0.4.7 takes another way: a whiteout behind a
// folder of its own layer loses what the folder's entry said, and AUFS's names are files.
var umociDiffers = []string{"a folder that is whited out and made again has nothing of before", "names of AUFS"}

// everythingLayered is everything as a layer, and one on top of it.
func everythingLayered(t testing.TB) [][]byte {
	top := acitest.Tar(t,
		whiteout("long"), whiteout("tmp/hard"), file("empty/.wh..wh..opq", ""), whiteout("big-owner.d"),
		entry{Header: tar.Header{
			Typeflag: tar.TypeDir, Name: "attrs.d", Mode: 0o1700, Uid: 9, ModTime: time.Unix(77, 0),
			Format: tar.FormatPAX, PAXRecords: map[string]string{"SCHILY.xattr.user.other": "2"},
		}},
		hard("late", "hard"), file("ping", "without capabilities"), soft("short", "elsewhere"))
	return [][]byte{everythingIn(t, "", nil), top}
}

// TestLayerEqualsTar2ext4 compares with the ext4 that hcsshim's converter makes.
func TestLayerEqualsTar2ext4(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts")
	}
	const tool = "github.com/Microsoft/hcsshim/cmd/tar2ext4@v0.14.0"
	// GOFLAGS= and a folder of its own: the tool's module is not ours.
	command := func(args ...string) *exec.Cmd {
		cmd := exec.Command("go", append([]string{"run", tool}, args...)...)
		cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), "GOFLAGS=-mod=mod")
		return cmd
	}
	data := everythingIn(t, "", nil)
	name := filepath.Join(t.TempDir(), "layer.tar")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	ext4 := filepath.Join(t.TempDir(), "layer.ext4")
	if out, err := command("-i", name, "-o", ext4).CombinedOutput(); err != nil {
		if strings.Contains(string(out), "proxy") || strings.Contains(string(out), "lookup") {
			t.Skipf("tar2ext4 is out of reach: %s", out)
		}
		t.Fatalf("tar2ext4: %v: %s", err, out)
	}
	f, _ := render(t, layered(t, data))
	got, want := mounted(t, f.Name()), mountedAs(t, "ext4", ext4)
	delete(want, "lost+found") // which the root's link count has in it
	for _, name := range []string{"before", "before-ns"} {
		delete(got, name) // the converter takes times before 1970 for ones behind 2038
		delete(want, name)
	}
	want["."] = strings.Replace(want["."], " links 9 ", " links 8 ", 1)
	same(t, got, want)
}
