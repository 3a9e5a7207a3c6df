package store_test

import (
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/store"
)

func reference(t testing.TB, ref, manifest string) store.Reference {
	t.Helper()
	sum := sha256.Sum256([]byte(manifest))
	digest, err := image.NewDigest(image.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return store.Reference{
		Ref: ref, Name: "localhost:5000/app", Subjects: []image.Digest{digest}, Documents: [][]byte{[]byte(manifest)},
		Config: []byte("{}"), Signatures: image.Signatures{Bundles: [][]byte{[]byte("b")}}, Pulled: time.Unix(1, 0).UTC(),
	}
}

func TestReferences(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(store.Options{Dir: filepath.Join(dir, "s"), KeyFile: filepath.Join(dir, "key")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b, a := reference(t, "docker://localhost:5000/app:b", "one"), reference(t, "docker://localhost:5000/app:a", "two")
	if _, err := s.Reference(a.Ref); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("before: %v", err)
	}
	moved := reference(t, a.Ref, "three")
	for _, r := range []store.Reference{b, a, moved} {
		if err := s.PutReference(r); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.Reference(a.Ref); err != nil || !reflect.DeepEqual(got, moved) {
		t.Errorf("got %+v, %v; want %+v", got, err, moved)
	}
	if list, err := s.References(); err != nil || len(list) != 2 || list[0].Ref != a.Ref || list[1].Ref != b.Ref {
		t.Errorf("listed %v, %v", list, err)
	}
	if err := s.RemoveReference(b.Ref); err != nil {
		t.Error(err)
	}
	if err := s.RemoveReference(b.Ref); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("removed again: %v", err)
	}
	lying := a
	lying.Documents = [][]byte{[]byte("evil")}
	if err := s.PutReference(lying); err == nil || !strings.Contains(err.Error(), "digest") {
		t.Errorf("another manifest: %v", err)
	}
	if left, err := os.ReadDir(filepath.Join(s.Dir(), "tmp")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestReferenceChanged(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(store.Options{Dir: filepath.Join(dir, "s"), KeyFile: filepath.Join(dir, "key")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	a, b := reference(t, "docker://a.example/app:1", "one"), reference(t, "docker://a.example/app:2", "two")
	for _, r := range []store.Reference{a, b} {
		if err := s.PutReference(r); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(s.Dir(), "references", "*"))
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	// One record in the other's place is as bad as a changed one.
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{"swapped": data, "changed": []byte(strings.Replace(string(data), "localhost", "localhosT", 1))} {
		if err := os.WriteFile(files[1], bad, 0o600); err != nil {
			t.Fatal(err)
		}
		_, errA := s.Reference(a.Ref)
		_, errB := s.Reference(b.Ref)
		if errA == nil && errB == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
