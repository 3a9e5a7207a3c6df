package store_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/rootfs"
	"github.com/clearrun/clearrun/image/store"
)

// digests are those of all images in the store.
func digests(t testing.TB, s *store.Store) []image.Digest {
	t.Helper()
	items, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	var list []image.Digest
	for _, item := range items {
		list = append(list, item.Digest)
	}
	return list
}

// refer makes a reference to a registry that means the image. Its manifest cannot be
// faked, so the image must be one that a reference's document names.
func refer(t testing.TB, s *store.Store, ref string) image.Digest {
	t.Helper()
	r := pointTo(t, s, ref)
	data := archive(t, ref)
	e, err := s.Put(context.Background(), r.Digest(), func(ctx context.Context, root *os.File, scratch string) (store.Rendered, error) {
		made, err := renderACI(data)(ctx, root, scratch)
		made.Meta.Digest = r.Digest()
		return made, err
	})
	if err != nil {
		t.Fatal(err)
	}
	e.Close()
	return r.Digest()
}

// pointTo keeps a reference without its image.
func pointTo(t testing.TB, s *store.Store, ref string) store.Reference {
	t.Helper()
	r := reference(t, ref, "manifest of "+ref)
	if err := s.PutReference(r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestListAndFind(t *testing.T) {
	p := newPlace(t)
	s := p.open(t)
	if list := digests(t, s); len(list) != 0 {
		t.Errorf("an empty store: %v", list)
	}
	data := archive(t, "one")
	e := put(t, s, data)
	const ref = "docker://localhost:5000/app:v1"
	named := refer(t, s, ref)
	items, err := s.List()
	if err != nil || len(items) != 2 {
		t.Fatalf("%+v, %v", items, err)
	}
	for _, item := range items {
		used := item.Digest == e.Digest
		if item.Problem != "" || item.InUse != used || item.Size < rootfs.BlockSize || item.Meta == nil || item.Root == nil ||
			time.Since(item.Used) > time.Hour || len(item.Sources) != 1 || used != (len(item.References) == 0) {
			t.Errorf("%+v", item)
		}
	}
	for word, want := range map[string]image.Digest{
		ref: named, named.String(): named, named.Hex()[:6]: named,
		"sha256:" + named.Hex()[:12]: named, e.Digest.Short(): e.Digest,
	} {
		if found, err := s.Find(word); err != nil || len(found) != 1 || found[0].Digest != want {
			t.Errorf("%s: %v, %v", word, found, err)
		}
	}
	if found, err := s.Find("example.com/app"); err != nil || len(found) != 2 {
		t.Errorf("by name: %v, %v", found, err)
	}
	for _, word := range []string{"", "example.com/ap", named.Hex()[:5], "sha512:" + named.Hex()[:12], "docker://localhost:5000/app"} {
		if found, err := s.Find(word); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%q: %v, %v", word, found, err)
		}
	}
}

func TestRemove(t *testing.T) {
	p := newPlace(t)
	s := p.open(t)
	data := archive(t, "one")
	e := put(t, s, data)
	other := refer(t, s, "docker://localhost:5000/app:v1")
	if err := s.Remove(e.Digest); !errors.Is(err, store.ErrInUse) {
		t.Errorf("in use: %v", err)
	}
	e.Close()
	if err := s.Remove(e.Digest); err != nil {
		t.Error(err)
	}
	if err := s.Remove(e.Digest); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("again: %v", err)
	}
	if err := s.Remove(other); err != nil {
		t.Error(err)
	}
	for _, dir := range []string{"images", "sources", "references", "tmp", "locks"} {
		if left, err := os.ReadDir(filepath.Join(s.Dir(), dir)); err != nil || len(left) > 0 {
			t.Errorf("%s: %v, %v", dir, left, err)
		}
	}
	put(t, s, data)
}

// TestInUseByChild passes the root image to a process that outlives the Entry, as a
// monitor does clearrun when it is killed.
func TestInUseByChild(t *testing.T) {
	s := newPlace(t).open(t)
	e := put(t, s, archive(t, "one"))
	cat := exec.Command("cat")
	in, err := cat.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	cat.ExtraFiles = []*os.File{e.File()}
	if err := cat.Start(); err != nil {
		t.Fatal(err)
	}
	e.Close()
	if err := s.Remove(e.Digest); !errors.Is(err, store.ErrInUse) {
		t.Errorf("while the child has it open: %v", err)
	}
	in.Close()
	cat.Wait()
	if err := s.Remove(e.Digest); err != nil {
		t.Error(err)
	}
}

// TestRemoveDamaged takes out what cannot be opened any more.
func TestRemoveDamaged(t *testing.T) {
	for name, damage := range map[string]func(dir string) error{
		"no record": func(dir string) error { return os.Remove(dir + "/meta.json") },
		"no root":   func(dir string) error { return os.Remove(dir + "/root.img") },
		"changed":   func(dir string) error { return os.Truncate(dir+"/meta.json", 10) },
		"symlink": func(dir string) error {
			return errors.Join(os.Remove(dir+"/root.img"), os.Symlink("/etc/passwd", dir+"/root.img"))
		},
		"file": func(dir string) error { return errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600)) },
	} {
		s := newPlace(t).open(t)
		data := archive(t, "one")
		e := put(t, s, data)
		e.Close()
		if err := damage(filepath.Dir(e.Path)); err != nil {
			t.Fatal(err)
		}
		items, err := s.List()
		if err != nil || len(items) != 1 || items[0].Problem == "" {
			t.Errorf("%s: listed %+v, %v", name, items, err)
		}
		if err := s.Remove(e.Digest); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		put(t, s, data)
	}
}

func TestPrune(t *testing.T) {
	p := newPlace(t)
	s := p.open(t)
	used := put(t, s, archive(t, "used"))
	idle := put(t, s, archive(t, "idle"))
	idle.Close()
	named := refer(t, s, "docker://localhost:5000/app:v1")
	prune := func(o store.PruneOptions) []image.Digest {
		t.Helper()
		items, err := s.Prune(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		var list []image.Digest
		for _, item := range items {
			list = append(list, item.Digest)
		}
		return list
	}
	if got := prune(store.PruneOptions{OlderThan: time.Hour, All: true}); len(got) != 0 {
		t.Errorf("all are younger than an hour, but %v", got)
	}
	if got := prune(store.PruneOptions{DryRun: true}); !slices.Equal(got, []image.Digest{idle.Digest}) || len(digests(t, s)) != 3 {
		t.Errorf("dry run: %v", got)
	}
	if got := prune(store.PruneOptions{}); !slices.Equal(got, []image.Digest{idle.Digest}) {
		t.Errorf("unreferenced: %v", got)
	}
	if got := prune(store.PruneOptions{All: true}); !slices.Equal(got, []image.Digest{named}) {
		t.Errorf("all: %v", got)
	}
	if refs, err := s.References(); err != nil || len(refs) != 0 {
		t.Errorf("references: %v, %v", refs, err)
	}
	if got := digests(t, s); !slices.Equal(got, []image.Digest{used.Digest}) {
		t.Errorf("left: %v", got)
	}
	// A source whose image is gone is of no use.
	used.Close()
	if err := os.RemoveAll(filepath.Dir(used.Path)); err != nil {
		t.Fatal(err)
	}
	prune(store.PruneOptions{})
	if left, err := os.ReadDir(filepath.Join(s.Dir(), "sources")); err != nil || len(left) > 0 {
		t.Errorf("sources: %v, %v", left, err)
	}
}

// TestQuota has room for three images: that which was not used for longest and which no
// reference means goes first, and what is in use never.
func TestQuota(t *testing.T) {
	p := newPlace(t)
	size := func(s *store.Store) uint64 {
		items, err := s.List()
		if err != nil {
			t.Fatal(err)
		}
		var sum uint64
		for _, item := range items {
			sum += item.Size
		}
		return sum
	}
	free := p.open(t)
	named := refer(t, free, "docker://localhost:5000/app:v1")
	first := put(t, free, archive(t, "first"))
	first.Close()
	second := put(t, free, archive(t, "second"))
	second.Close()
	all := size(free)
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(filepath.Dir(second.Path), "meta.json"), old, old); err != nil {
		t.Fatal(err)
	}
	p.Quota = sizeText(all + 100)
	s := p.open(t)
	third := put(t, s, archive(t, "third"))
	if got := digests(t, s); slices.Contains(got, second.Digest) || len(got) != 3 {
		t.Errorf("after the third: %v", got)
	}
	fourth := put(t, s, archive(t, "fourth"))
	if got := digests(t, s); slices.Contains(got, first.Digest) || len(got) != 3 {
		t.Errorf("after the fourth: %v", got)
	}
	fifth := put(t, s, archive(t, "fifth"))
	if got := digests(t, s); slices.Contains(got, named) || len(got) != 3 {
		t.Errorf("after the fifth: %v", got)
	}
	var quota *store.QuotaError
	data := archive(t, "sixth")
	if _, err := s.Put(context.Background(), digest(data), renderACI(data)); !errors.As(err, &quota) || !strings.Contains(err.Error(), "--store-quota") {
		t.Errorf("all in use: %v", err)
	}
	nothingLeft(t, p)
	if got := size(s); got > all+100 {
		t.Errorf("%d bytes, the quota is %d", got, all+100)
	}
	for _, e := range []*store.Entry{third, fourth, fifth} {
		if err := rootfs.Verify(context.Background(), e.File(), e.Info, func(err error) { t.Error(err) }); err != nil {
			t.Error(err)
		}
	}
	third.Close()
	put(t, s, data)
	// An image that is there already needs no room.
	put(t, s, archive(t, "fourth"))
}

func sizeText(n uint64) string { return image.FormatSize(n) }

// TestQuotaCountsKept: what is kept of an image as distributed counts, and goes with it.
func TestQuotaCountsKept(t *testing.T) {
	p := newPlace(t)
	s := p.open(t)
	data := archive(t, "first")
	put(t, s, data).Close()
	const ref, kept = "appc:example.com/first", 1 << 20
	if err := s.Keep(ref, digest(data)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.KeptDir(ref), "image.aci"), make([]byte, kept), 0o600); err != nil {
		t.Fatal(err)
	}
	items, err := s.List()
	if err != nil || len(items) != 1 || items[0].Size < kept {
		t.Fatalf("the image's size is without what is kept of it: %+v, %v", items, err)
	}
	p.Quota = sizeText(kept)
	second := put(t, p.open(t), archive(t, "second"))
	if got := digests(t, s); len(got) != 1 || got[0] != second.Digest {
		t.Errorf("in the store: %v", got)
	}
	if _, err := os.Lstat(s.KeptDir(ref)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was kept of the first is left: %v", err)
	}
}

func TestQuotaFile(t *testing.T) {
	p := newPlace(t)
	name := filepath.Join(filepath.Dir(p.KeyFile), "store.yaml")
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"quota: 4K\n":    "quota is 4.0 KiB",
		"quota: 1G\n":    "",
		"":               "",
		"quota: many\n":  "quota",
		"quotas: 1G\n":   "store.yaml",
		"- 1\n":          "store.yaml",
		"quota: \"0\"\n": "",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := store.Open(p.Options)
		if err == nil {
			data := archive(t, text)
			var e *store.Entry
			if e, err = s.Put(context.Background(), digest(data), renderACI(data)); err == nil {
				e.Close()
			}
			s.Close()
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// TestVerify changes one thing each time. Verify must name the file, and say nothing of
// the image that is whole.
func TestVerify(t *testing.T) {
	flip := func(name string, at int64) error {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		data[at] ^= 1
		return os.WriteFile(name, data, 0o600)
	}
	for _, tc := range []struct {
		name, file string // below the store
		change     func(file string) error
		want       int // problems
	}{
		{"nothing", "", func(string) error { return nil }, 0},
		{"data", "images/X/root.img", func(f string) error { return flip(f, 3*4096) }, 1},
		{"two blocks of data", "images/X/root.img", func(f string) error { return errors.Join(flip(f, 1024), flip(f, 5*4096)) }, 2},
		{"record", "images/X/meta.json", func(f string) error { return flip(f, 50) }, 1},
		{"record gone", "images/X", func(f string) error { return os.Remove(f + "/meta.json") }, 1},
		{"size", "images/X/root.img", func(f string) error { return os.Truncate(f, 8192) }, 1},
		{"mode", "images/X/root.img", func(f string) error { return os.Chmod(f, 0o666) }, 1},
		{"a file too many", "images/X/other", func(f string) error { return os.WriteFile(f, nil, 0o600) }, 1},
		{"a stranger", "images/stranger", func(f string) error { return os.WriteFile(f, nil, 0o600) }, 1},
		{"source", "sources/Y", func(f string) error { return flip(f, 60) }, 1},
		{"reference", "references/Z", func(f string) error { return flip(f, 60) }, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newPlace(t).open(t)
			data := archive(t, strings.Repeat("some data ", 5000))
			e := put(t, s, data)
			refer(t, s, "docker://localhost:5000/app:v1")
			refs, err := filepath.Glob(filepath.Join(s.Dir(), "references", "*"))
			if err != nil || len(refs) != 1 {
				t.Fatal(refs, err)
			}
			file := strings.NewReplacer("X", e.Digest.String(), "Y", digest(data).String(), "Z", filepath.Base(refs[0])).Replace(tc.file)
			if err := tc.change(filepath.Join(s.Dir(), file)); err != nil {
				t.Fatal(err)
			}
			v, err := s.Verify(context.Background(), nil, nil)
			if err != nil || len(v.Problems) != tc.want || v.Images < 1 {
				t.Fatalf("%+v, %v", v, err)
			}
			for _, p := range v.Problems {
				if !strings.Contains(p.File+p.Text, file) || p.Text == "" {
					t.Errorf("%+v does not name %s", p, file)
				}
			}
		})
	}
}

func TestVerifyOne(t *testing.T) {
	s := newPlace(t).open(t)
	a, b := put(t, s, archive(t, "one")), put(t, s, archive(t, "two"))
	if err := os.Truncate(b.Path, 4096); err != nil {
		t.Fatal(err)
	}
	var seen []image.Digest
	v, err := s.Verify(context.Background(), func(d image.Digest) bool { return d == a.Digest }, func(d image.Digest) { seen = append(seen, d) })
	if err != nil || len(v.Problems) > 0 || v.Images != 1 || v.Bytes != a.Info.Size || !slices.Equal(seen, []image.Digest{a.Digest}) {
		t.Errorf("%+v of %v, %v", v, seen, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Verify(ctx, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
