package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/image/ocitest"
	"github.com/clearrun/clearrun/image/registrytest"
	"github.com/clearrun/clearrun/image/store"
)

// shelf is a store of a test's, and how to call clearrun on it.
type shelf struct {
	t   *testing.T
	dir string
}

// image runs `clearrun image` with the arguments, which are split at spaces.
func (s shelf) image(args string) (int, string) {
	s.t.Helper()
	return output(s.t, append([]string{"--store", s.dir + "/store", "--config-dir", s.dir + "/config", "image"}, strings.Fields(args)...)...)
}

// want is image that must end with the code and say each of words.
func (s shelf) want(code int, args string, words ...string) string {
	s.t.Helper()
	got, out := s.image(args)
	if got != code {
		s.t.Errorf("image %s: exit code %d, want %d: %s", args, got, code, out)
	}
	for _, w := range words {
		if !strings.Contains(out, w) {
			s.t.Errorf("image %s: no %q in\n%s", args, w, out)
		}
	}
	return out
}

// pull puts an ACI into the store and returns its digest.
func (s shelf) pull(name, text string) string {
	s.t.Helper()
	manifest := acitest.Manifest(name, `{"exec":["/a"],"user":"0","group":"0"}`)
	manifest.Data = strings.TrimSuffix(manifest.Data, "}") + `,"labels":[{"name":"version","value":"1.2.3"}]}`
	data := acitest.Tar(s.t, manifest, acitest.Dir("rootfs"), acitest.File("rootfs/text", text),
		acitest.Link('1', "rootfs/hard", "rootfs/text"))
	file := filepath.Join(s.dir, "app.aci")
	if err := os.WriteFile(file, data, 0o644); err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(s.want(0, "pull --insecure-no-verify "+file))
}

func (s shelf) json(args string, v any) {
	s.t.Helper()
	if out := s.want(0, args); json.Unmarshal([]byte(out), v) != nil {
		s.t.Errorf("image %s: not JSON: %s", args, out)
	}
}

func TestImageCommands(t *testing.T) {
	s := shelf{t, t.TempDir()}
	if out := s.want(0, "list --json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("an empty store: %s", out)
	}
	s.want(0, "verify", "0 images")
	one, two := s.pull("example.com/one", "1"), s.pull("example.com/two", "2")
	three := s.pull("example.com/two", "3")
	s.want(0, "list", "example.com/one", "1.2.3", "idle", one[:19])
	var items []store.Item
	if s.json("list --json", &items); len(items) != 3 {
		t.Errorf("listed %v", items)
	}
	if s.json("inspect example.com/two", &items); len(items) != 2 || items[0].Meta == nil || items[0].Root == nil || len(items[0].Sources) != 1 {
		t.Errorf("inspected %+v", items)
	}
	if s.json("list --json "+one, &items); len(items) != 1 || items[0].Digest.String() != one {
		t.Errorf("listed one: %+v", items)
	}
	s.want(125, "rm example.com/two", "there are 2 of that name", two[:19], three[:19])
	s.want(125, "rm example.com/none", "not in the store")
	s.want(0, "rm "+two, two)
	s.want(125, "rm "+two, "not in the store")
	var v store.Verified
	if s.json("verify --json", &v); v.Images != 2 || len(v.Problems) > 0 || v.Bytes == 0 {
		t.Errorf("verified %+v", v)
	}
	s.want(0, "prune --older-than 1h", "0 images")
	s.want(0, "prune --dry-run", "2 images", one)
	var done removal
	if s.json("prune --json", &done); len(done.Removed) != 2 || done.Bytes == 0 {
		t.Errorf("pruned %+v", done)
	}
	s.want(0, "list", "NAME")
	for args, word := range map[string]string{
		"": "want image pull, list", "eat": "unknown command", "rm": "at least one image", "export": "want one image",
		"prune x": "no arguments", "prune --older-than -1h": "negative", "export example.com/one": "not in the store", "list --what": "unknown flag",
	} {
		s.want(125, args, word)
	}
	s.want(0, "--help", "prune", "verify")
	s.want(125, "list --store-quota many", "quota")
}

func TestImageVerifyNamesTheFile(t *testing.T) {
	s := shelf{t, t.TempDir()}
	good, bad := s.pull("example.com/good", "1"), s.pull("example.com/bad", strings.Repeat("2", 20_000))
	file := filepath.Join(s.dir, "store/v1/images", bad, "root.img")
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("x"), 2*4096); err != nil {
		t.Fatal(err)
	}
	f.Close()
	s.want(1, "verify", file+": block 2 of the file system was changed", "2 images", "1 problems")
	s.want(1, "verify "+bad, "block 2")
	s.want(0, "verify "+good, "1 images", "0 problems")
	var v store.Verified
	if code, out := s.image("verify --json"); code != 1 || json.Unmarshal([]byte(out), &v) != nil || len(v.Problems) != 1 || v.Problems[0].File != file {
		t.Errorf("JSON: exit code %d, %s", code, out)
	}
	// Nor is it exported, and nothing is left behind.
	s.want(125, "export -o "+s.dir+"/bad.tar "+bad, "block 2")
	if left, err := filepath.Glob(s.dir + "/*.tar"); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if left, err := filepath.Glob(s.dir + "/.clearrun*"); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestImageExport(t *testing.T) {
	s := shelf{t, t.TempDir()}
	s.pull("example.com/app", "the text")
	file := filepath.Join(s.dir, "root.tar")
	s.want(0, "export --output "+file+" example.com/app")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, out := s.image("export example.com/app"); out != string(data) {
		t.Errorf("standard output has %d bytes, the file %d, or others", len(out), len(data))
	}
	out, err := exec.Command("tar", "-xOf", file, "hard").CombinedOutput() // in the tar before the other name
	if err != nil || string(out) != "the text" {
		t.Errorf("tar: %v: %s", err, out)
	}
	list, err := exec.Command("tar", "-tvf", file).CombinedOutput()
	if err != nil || !strings.Contains(string(list), "link to ") {
		t.Errorf("tar: %v: %s", err, list)
	}
}

// TestImageQuota pulls with room for one image.
func TestImageQuota(t *testing.T) {
	s := shelf{t, t.TempDir()}
	s.pull("example.com/one", "1")
	var items []store.Item
	s.json("list --json", &items)
	t.Setenv("CLEARRUN_STORE_QUOTA", image.FormatSize(items[0].Size+100))
	two := s.pull("example.com/two", "2")
	if s.json("list --json", &items); len(items) != 1 || items[0].Digest.String() != two {
		t.Errorf("listed %+v", items)
	}
	t.Setenv("CLEARRUN_STORE_QUOTA", "4K")
	s.want(0, "pull --insecure-no-verify "+s.dir+"/app.aci --store-quota 1K") // is there already
	s.want(125, "rm example.com/one", "not in the store")
	s.want(0, "rm example.com/two")
	s.want(125, "pull --insecure-no-verify "+s.dir+"/app.aci", "quota is 4.0 KiB")
}

// TestImageReferences pulls one image under two tags, one of which is then forgotten.
func TestImageReferences(t *testing.T) {
	s := shelf{t, t.TempDir()}
	l := ocitest.New(t)
	l.Tag(l.Image(ocitest.Config(v1.ImageConfig{Entrypoint: []string{"/a"}}),
		ocitest.Layer{Tar: acitest.Tar(t, acitest.Dir("d"), acitest.File("d/x", "x"))},
		ocitest.Layer{Tar: acitest.Tar(t, acitest.File("d/.wh.x", ""), acitest.File("d/y", "y"))}), "v1")
	r := registrytest.Start(t, registrytest.Options{})
	var refs []string
	for _, tag := range []string{"v1", "v2"} {
		r.Push("oci:"+l.Dir+":v1", "app:"+tag)
		refs = append(refs, "docker://"+r.Host+"/app:"+tag)
	}
	var digest string
	for _, ref := range refs {
		digest = strings.TrimSpace(s.want(0, "pull --insecure-no-verify "+ref))
	}
	var items []store.Item
	if s.json("list --json "+refs[0], &items); len(items) != 1 || !slices.Equal(items[0].References, refs) || items[0].Digest.String() != digest {
		t.Errorf("listed %+v", items)
	}
	s.want(0, "prune", "0 images") // references keep it
	var done removal
	if s.json("rm --json "+refs[0], &done); len(done.Removed) != 0 || !slices.Equal(done.References, refs[:1]) {
		t.Errorf("removed %+v", done)
	}
	s.want(125, "inspect "+refs[0], "not in the store")
	s.want(0, "export -o "+s.dir+"/root.tar "+refs[1])
	if list, err := exec.Command("tar", "-tf", s.dir+"/root.tar").CombinedOutput(); err != nil || string(list) != "./\nd/\nd/y\n" {
		t.Errorf("exported %q, %v", list, err)
	}
	s.want(0, "rm "+refs[1], digest)
	s.want(125, "rm "+refs[1], "not in the store")
	s.want(0, "verify", "0 images, 0 B: 0 problems")
}
