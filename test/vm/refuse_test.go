package vm

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/clearrun/clearrun/image/store"
	"github.com/clearrun/clearrun/pod"
	"github.com/clearrun/clearrun/trust"
)

// What is refused before there is a VM: /dev/kvm is not needed.

func TestImagesRefused(t *testing.T) {
	flip := func(data []byte) []byte {
		data[len(data)/2] ^= 1
		return data
	}
	for name, c := range map[string]struct {
		spoil func(t *testing.T, image string)
		says  []string // besides the image's path
	}{
		"changed byte": {
			func(t *testing.T, image string) { change(t, image, flip) },
			[]string{"the signature by key ", shared.alice, "is not valid", "not signed by anyone trusted"},
		},
		"truncated": {
			func(t *testing.T, image string) { change(t, image, func(b []byte) []byte { return b[:len(b)/2] }) },
			[]string{"the signature by key ", shared.alice, "is not valid"},
		},
		"changed signature": {
			func(t *testing.T, image string) {
				change(t, image+".asc", func(b []byte) []byte {
					// A character of the base64 text, to another of the alphabet.
					at := bytes.Index(b, []byte("\n\n")) + 100
					b[at] = map[bool]byte{true: 'B', false: 'A'}[b[at] == 'A']
					return b
				})
			},
			[]string{"signature"},
		},
		"signature of other bytes": {
			func(t *testing.T, image string) {
				other := filepath.Join(filepath.Dir(image), "other")
				if err := os.WriteFile(other, []byte("other bytes"), 0o644); err != nil {
					t.Fatal(err)
				}
				if err := shared.sign(shared.alice, other); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(other+".asc", image+".asc"); err != nil {
					t.Fatal(err)
				}
			},
			[]string{"the signature by key ", shared.alice, "is not valid"},
		},
		"key of another prefix": {
			func(t *testing.T, image string) { mustSign(t, shared.bob, image) },
			[]string{shared.bob, "trusted only for example.com/other", "clearrun trust add --prefix example.com/app/probe"},
		},
		"untrusted key": {
			func(t *testing.T, image string) { mustSign(t, shared.mallory, image) },
			[]string{"is not trusted", "clearrun trust add --prefix"},
		},
		"unsigned": {
			func(t *testing.T, image string) { mustRemove(t, image+".asc") },
			[]string{"is not signed", "copy.aci.asc", "--insecure-no-verify"},
		},
		"no image": {
			func(t *testing.T, image string) { mustRemove(t, image) },
			[]string{"no such file"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			image := copyOfProbe(t)
			c.spoil(t, image)
			p := place{filepath.Join(shared.tempDir(t), "store"), shared.config}
			run(t, p, "--vm", image).complains(t, exitFailure, append(c.says, image)...)
			if kept := tree(t, filepath.Join(p.store, "v1/images")); len(kept) > 1 {
				t.Errorf("the store has kept %q", kept)
			}
		})
	}
}

// TestDamagedArchive: without a check of the signature, a damaged image still is one.
func TestDamagedArchive(t *testing.T) {
	image := copyOfProbe(t)
	change(t, image, func(b []byte) []byte { return b[:len(b)/2] })
	run(t, fresh(t), "--insecure-no-verify", image).complains(t, exitFailure, image, "unexpected EOF")
}

func mustSign(t *testing.T, userID, file string) {
	t.Helper()
	if err := shared.sign(userID, file); err != nil {
		t.Fatal(err)
	}
}

func mustRemove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// rendered gives a place whose store has the probe image, and the folder of its entry.
func rendered(t *testing.T) (p place, entry string) {
	t.Helper()
	p = place{filepath.Join(shared.tempDir(t), "store"), shared.config}
	st, err := store.Open(store.Options{Dir: p.store, KeyFile: filepath.Join(p.config, "store.key")})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	keys, err := trust.OpenKeyring(filepath.Join(p.config, "trust.d"))
	if err != nil {
		t.Fatal(err)
	}
	opened, err := pod.Open(context.Background(), pod.Options{Path: shared.probe, Store: st, Keyring: keys})
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	return p, filepath.Dir(opened.RootFS.Path)
}

// TestStoreRefused changes what an earlier run has left in the store. The message
// names the file, and what to delete.
func TestStoreRefused(t *testing.T) {
	flipAt := func(at func(size int) int) func([]byte) []byte {
		return func(b []byte) []byte {
			b[at(len(b))] ^= 1
			return b
		}
	}
	last := flipAt(func(size int) int { return size - 1 })
	for name, c := range map[string]struct {
		file  string // in the entry's folder
		spoil func([]byte) []byte
	}{
		"record edited": {"meta.json", func(b []byte) []byte {
			return bytes.Replace(b, []byte("/bin/probe"), []byte("/bin/bribe"), 1)
		}},
		"record emptied":     {"meta.json", func([]byte) []byte { return nil }},
		"hash tree changed":  {"root.img", last}, // it follows the data
		"root image cut":     {"root.img", func(b []byte) []byte { return b[:len(b)-4096] }},
		"root image growing": {"root.img", func(b []byte) []byte { return append(b, 0) }},
	} {
		t.Run(name, func(t *testing.T) {
			p, entry := rendered(t)
			path := filepath.Join(entry, c.file)
			change(t, path, c.spoil)
			run(t, p, shared.probe).complains(t, exitFailure, path, "delete "+entry)
		})
	}
	t.Run("source record edited", func(t *testing.T) {
		p, entry := rendered(t)
		sources, err := filepath.Glob(filepath.Join(entry, "../../sources/*"))
		if err != nil || len(sources) != 1 {
			t.Fatalf("source records %q: %v", sources, err)
		}
		change(t, sources[0], last)
		run(t, p, shared.probe).complains(t, exitFailure, sources[0], "delete "+sources[0])
	})
}

// TestDiskBlockRefused changes one bit of the app's program in the stored root image.
// Only the guest reads that block, and the monitor checks it as it does.
func TestDiskBlockRefused(t *testing.T) {
	needVM(t)
	takeSlot(t)
	p, entry := rendered(t)
	path := filepath.Join(entry, "root.img")
	change(t, path, func(b []byte) []byte {
		elf := bytes.Index(b, []byte("\x7fELF"))
		if elf < 0 {
			t.Fatal("the root image holds no program as it is")
		}
		b[elf+8] ^= 1 // in the identification, which the kernel passes over
		return b
	})
	run(t, p, shared.probe).complains(t, exitFailure, "corrupt", "data block", entry+" and run again")
}
