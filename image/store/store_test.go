package store_test

import (
	"bytes"
	"context"
	"crypto/sha512"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/aci"
	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/image/rootfs"
	"github.com/clearrun/clearrun/image/store"
)

// place is where a test's store lies; it can be opened any number of times.
type place struct{ store.Options }

func newPlace(t testing.TB) place {
	dir := t.TempDir()
	return place{store.Options{Dir: filepath.Join(dir, "store"), KeyFile: filepath.Join(dir, "config", "store.key")}}
}

func (p place) open(t testing.TB) *store.Store {
	t.Helper()
	s, err := store.Open(p.Options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// archive is an ACI whose content depends on text.
func archive(t testing.TB, text string) []byte {
	manifest := acitest.Manifest("example.com/app", `{"exec":["/x"],"user":"0","group":"0",
		"isolators":[{"name":"os/linux/no-new-privileges","value":true}],"environment":[{"name":"A","value":"<&>"}]}`)
	return acitest.Tar(t, manifest, acitest.Dir("rootfs"), acitest.File("rootfs/text", text))
}

func digest(data []byte) image.Digest { return image.SumSHA512(sha512.Sum512(data)) }

// renderACI is what pod does, without the questions of trust.
func renderACI(data []byte) store.RenderFunc {
	return func(ctx context.Context, root *os.File, scratch string) (store.Rendered, error) {
		img, _, err := aci.Read(ctx, bytes.NewReader(data), scratch, image.Limits{})
		if err != nil {
			return store.Rendered{}, err
		}
		defer img.Close()
		info, err := rootfs.Render(ctx, img, image.Limits{}, root)
		return store.Rendered{Info: info, Meta: img.Meta()}, err
	}
}

func put(t testing.TB, s *store.Store, data []byte) *store.Entry {
	t.Helper()
	e, err := s.Put(context.Background(), digest(data), renderACI(data))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func TestPutGet(t *testing.T) {
	p := newPlace(t)
	data := archive(t, "one")
	s := p.open(t)
	if _, err := s.Lookup(digest(data)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("empty store: %v", err)
	}
	made := put(t, s, data)
	if err := rootfs.VerifyTree(made.File(), made.Info); err != nil {
		t.Error(err)
	}
	if _, err := made.File().Write([]byte("x")); err == nil {
		t.Error("the root image can be written through its Entry")
	}
	again := p.open(t)
	for name, get := range map[string]func() (*store.Entry, error){
		"Get":    func() (*store.Entry, error) { return again.Get(made.Digest) },
		"Lookup": func() (*store.Entry, error) { return again.Lookup(digest(data)) },
		"Put": func() (*store.Entry, error) {
			return again.Put(context.Background(), digest(data), func(context.Context, *os.File, string) (store.Rendered, error) {
				return store.Rendered{}, errors.New("rendered again")
			})
		},
	} {
		e, err := get()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if e.Digest != made.Digest || e.Path != made.Path || !reflect.DeepEqual(e.Info, made.Info) || !reflect.DeepEqual(e.Meta, made.Meta) {
			t.Errorf("%s: got %+v, want %+v", name, e, made)
		}
		if err := errors.Join(e.Close(), e.Close()); err != nil {
			t.Errorf("%s: close: %v", name, err)
		}
	}
	nothingLeft(t, p)
}

// TestSameImageTwice puts one image from two files, such as two compressions of it.
func TestSameImageTwice(t *testing.T) {
	p := newPlace(t)
	s := p.open(t)
	plain := archive(t, "one")
	packed := acitest.Compress(t, "gzip", plain)
	if a, b := put(t, s, plain), put(t, s, packed); a.Path != b.Path {
		t.Errorf("%s and %s", a.Path, b.Path)
	}
	if _, err := s.Lookup(digest(packed)); err != nil {
		t.Error(err)
	}
	nothingLeft(t, p)
}

// TestDeleted loses an image but not its source record.
func TestDeleted(t *testing.T) {
	s := newPlace(t).open(t)
	data := archive(t, "one")
	e := put(t, s, data)
	if err := os.RemoveAll(filepath.Dir(e.Path)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lookup(digest(data)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	put(t, s, data)
}

func TestConcurrentPutRendersOnce(t *testing.T) {
	p := newPlace(t)
	data := archive(t, "one")
	var renders atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		s := p.open(t) // as another process would
		wg.Go(func() {
			e, err := s.Put(context.Background(), digest(data), func(ctx context.Context, root *os.File, scratch string) (store.Rendered, error) {
				renders.Add(1)
				return renderACI(data)(ctx, root, scratch)
			})
			if err != nil {
				t.Error(err)
				return
			}
			e.Close()
		})
	}
	wg.Wait()
	if n := renders.Load(); n != 1 {
		t.Errorf("rendered %d times", n)
	}
	nothingLeft(t, p)
}

func TestCancelWhileWaiting(t *testing.T) {
	p := newPlace(t)
	s := p.open(t)
	data := archive(t, "one")
	ctx, cancel := context.WithCancel(context.Background())
	_, err := s.Put(context.Background(), digest(data), func(context.Context, *os.File, string) (store.Rendered, error) {
		go cancel()
		_, err := p.open(t).Put(ctx, digest(data), renderACI(data)) // cannot get the lock
		return store.Rendered{}, err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	nothingLeft(t, p)
}

func TestFailedRenderLeavesNothing(t *testing.T) {
	p := newPlace(t)
	s := p.open(t)
	data := archive(t, "one")
	failure := errors.New("failure")
	ctx, cancel := context.WithCancel(context.Background())
	for name, render := range map[string]store.RenderFunc{
		"error": func(_ context.Context, root *os.File, scratch string) (store.Rendered, error) {
			os.WriteFile(filepath.Join(scratch, "litter"), []byte("x"), 0o600)
			_, err := root.Write([]byte("half"))
			return store.Rendered{}, errors.Join(failure, err)
		},
		"nothing": func(context.Context, *os.File, string) (store.Rendered, error) { return store.Rendered{}, nil },
		"short": func(ctx context.Context, root *os.File, scratch string) (store.Rendered, error) {
			made, err := renderACI(data)(ctx, root, scratch)
			return made, errors.Join(err, root.Truncate(4096))
		},
		"cancelled": func(ctx context.Context, root *os.File, scratch string) (store.Rendered, error) {
			made, err := renderACI(data)(ctx, root, scratch)
			cancel()
			return made, err
		},
	} {
		if e, err := s.Put(ctx, digest(data), render); err == nil {
			t.Errorf("%s: got %+v", name, e)
		}
	}
	nothingLeft(t, p)
	put(t, s, data)
}

// nothingLeft asks for empty folders where only running Puts have something.
func nothingLeft(t testing.TB, p place) {
	t.Helper()
	for _, dir := range []string{"tmp", "locks"} {
		entries, err := os.ReadDir(filepath.Join(p.Dir, "v1", dir))
		if err != nil || len(entries) > 0 {
			t.Errorf("%s: %v, %v", dir, entries, err)
		}
	}
}

// TestTampered changes one thing about a good store each time. Nothing of it may be
// used, and the error names the file at fault.
func TestTampered(t *testing.T) {
	flip := func(name string, at int64) error {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if at < 0 {
			at += int64(len(data))
		}
		data[at] ^= 1
		return os.WriteFile(name, data, 0o600)
	}
	// dir is the entry, other that of another image, source the record of the bytes.
	type files struct{ dir, other, source, otherSource, key string }
	for _, tc := range []struct {
		name   string
		change func(f files) error
		want   string
	}{
		{"meta", func(f files) error { return flip(f.dir+"/meta.json", 40) }, "meta.json"},
		{"MAC", func(f files) error { return flip(f.dir+"/meta.json", -5) }, "meta.json"},
		{"meta of another image", func(f files) error { return os.Rename(f.other+"/meta.json", f.dir+"/meta.json") }, "meta.json"},
		{"all of another image", func(f files) error {
			return errors.Join(os.RemoveAll(f.dir), os.Rename(f.other, f.dir))
		}, "another image"},
		{"source record in place of meta", func(f files) error {
			data, err := os.ReadFile(f.source)
			return errors.Join(err, os.WriteFile(f.dir+"/meta.json", data, 0o600))
		}, "meta.json"},
		{"meta gone", func(f files) error { return os.Remove(f.dir + "/meta.json") }, "meta.json"},
		{"meta empty", func(f files) error { return os.Truncate(f.dir+"/meta.json", 0) }, "meta.json"},
		{"meta huge", func(f files) error { return os.Truncate(f.dir+"/meta.json", 1<<30) }, "too large"},
		{"root of another image", func(f files) error { return os.Rename(f.other+"/root.img", f.dir+"/root.img") }, "root.img"},
		{"tree", func(f files) error { return flip(f.dir+"/root.img", -4096) }, "root.img"},
		{"padding of the tree", func(f files) error { return flip(f.dir+"/root.img", -1) }, "root.img"},
		{"root cut short", func(f files) error { return os.Truncate(f.dir+"/root.img", 4096) }, "root.img"},
		{"root gone", func(f files) error { return os.Remove(f.dir + "/root.img") }, "root.img"},
		{"root is a symlink", func(f files) error {
			return errors.Join(os.Remove(f.dir+"/root.img"), os.Symlink(f.other+"/root.img", f.dir+"/root.img"))
		}, "not a regular file"},
		{"root is a FIFO", func(f files) error {
			return errors.Join(os.Remove(f.dir+"/root.img"), unix.Mkfifo(f.dir+"/root.img", 0o600))
		}, "not a regular file"},
		{"root is writable by others", func(f files) error { return os.Chmod(f.dir+"/root.img", 0o666) }, "writable by others"},
		{"meta is writable by others", func(f files) error { return os.Chmod(f.dir+"/meta.json", 0o620) }, "writable by others"},
		{"entry is writable by others", func(f files) error { return os.Chmod(f.dir, 0o777) }, "writable by others"},
		{"entry is a file", func(f files) error {
			return errors.Join(os.RemoveAll(f.dir), os.WriteFile(f.dir, nil, 0o600))
		}, "not a folder"},
		{"source", func(f files) error { return flip(f.source, 60) }, "sources/"},
		{"source of other bytes", func(f files) error { return os.Rename(f.otherSource, f.source) }, "about other bytes"},
		{"another key", func(f files) error { return os.Remove(f.key) }, "another key"},
		{"key is readable by others", func(f files) error { return os.Chmod(f.key, 0o644) }, "readable by others"},
		{"key is writable by others", func(f files) error { return os.Chmod(f.key, 0o620) }, "writable by others"},
		{"key is short", func(f files) error { return os.Truncate(f.key, 31) }, "holds 31 bytes"},
		{"images are writable by others", func(f files) error { return os.Chmod(filepath.Dir(f.dir), 0o777) }, "writable by others"},
		{"images are a symlink", func(f files) error {
			images := filepath.Dir(f.dir)
			return errors.Join(os.Rename(images, images+"2"), os.Symlink("images2", images))
		}, "not a folder"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPlace(t)
			s := p.open(t)
			data, other := archive(t, "one"), archive(t, "two")
			e, o := put(t, s, data), put(t, s, other)
			sources := filepath.Join(p.Dir, "v1", "sources")
			err := tc.change(files{
				filepath.Dir(e.Path), filepath.Dir(o.Path),
				filepath.Join(sources, digest(data).String()), filepath.Join(sources, digest(other).String()), p.KeyFile,
			})
			if err != nil {
				t.Fatal(err)
			}
			again, err := store.Open(p.Options)
			if err == nil {
				defer again.Close()
				var entry *store.Entry
				entry, err = again.Lookup(digest(data))
				if err == nil {
					entry.Close()
					t.Fatal("it was used")
				}
				// Nor may it be papered over.
				if _, err := again.Put(context.Background(), digest(data), renderACI(data)); err == nil {
					t.Error("Put used it")
				}
			}
			if errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %q, want it to say %q", err, tc.want)
			}
		})
	}
}

// TestRemedy does what the error says, and runs again.
func TestRemedy(t *testing.T) {
	s := newPlace(t).open(t)
	data := archive(t, "one")
	e := put(t, s, data)
	if err := os.Truncate(e.Path, 100); err != nil {
		t.Fatal(err)
	}
	_, err := s.Lookup(digest(data))
	if err == nil || !strings.Contains(err.Error(), "delete "+filepath.Dir(e.Path)+" ") {
		t.Fatalf("got %v", err)
	}
	if err := os.RemoveAll(filepath.Dir(e.Path)); err != nil {
		t.Fatal(err)
	}
	put(t, s, data)
}

// TestDataBlockIsLeftToTheReader documents the border: blocks of data are checked
// against the tree by whoever reads them, and the tree is what is checked here.
func TestDataBlockIsLeftToTheReader(t *testing.T) {
	s := newPlace(t).open(t)
	data := archive(t, strings.Repeat("long ", 10_000))
	made := put(t, s, data)
	f, err := os.OpenFile(made.Path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{0xff}, 2*rootfs.BlockSize); err != nil {
		t.Fatal(err)
	}
	e, err := s.Lookup(digest(data))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if !reflect.DeepEqual(e.Info, made.Info) {
		t.Error("the root hash changed")
	}
}

func TestForeignOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: chown")
	}
	p := newPlace(t)
	s := p.open(t)
	data := archive(t, "one")
	e := put(t, s, data)
	for _, name := range []string{e.Path, filepath.Dir(e.Path), p.KeyFile, filepath.Join(p.Dir, "v1")} {
		if err := os.Chown(name, 12345, 0); err != nil {
			t.Fatal(err)
		}
		again, err := store.Open(p.Options)
		if err == nil {
			_, err = again.Lookup(digest(data))
			again.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "belongs to user 12345") {
			t.Errorf("%s: %v", name, err)
		}
		if err := os.Chown(name, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
}

func TestModes(t *testing.T) {
	p := newPlace(t)
	put(t, p.open(t), archive(t, "one"))
	err := filepath.WalkDir(filepath.Dir(p.Dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == filepath.Dir(p.Dir) {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// FuzzMeta overwrites a record: whatever is accepted must be what was written.
func FuzzMeta(f *testing.F) {
	p := newPlace(f)
	s := p.open(f)
	data := archive(f, "one")
	made := put(f, s, data)
	name := filepath.Join(filepath.Dir(made.Path), "meta.json")
	good, err := os.ReadFile(name)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"record":{},"hmac-sha256":""}`))
	f.Add(bytes.Replace(good, []byte("example.com"), []byte("example.org"), 1))
	f.Fuzz(func(t *testing.T, meta []byte) {
		if err := os.WriteFile(name, meta, 0o600); err != nil {
			t.Fatal(err)
		}
		e, err := s.Get(made.Digest)
		if err != nil {
			return
		}
		defer e.Close()
		if !reflect.DeepEqual(e.Meta, made.Meta) || !reflect.DeepEqual(e.Info, made.Info) {
			t.Errorf("accepted: %+v", e)
		}
	})
}
