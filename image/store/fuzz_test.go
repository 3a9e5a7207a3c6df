package store_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/clearrun/clearrun/image/store"
)

// FuzzPointers overwrites the records that point at images. Whatever is believed must be
// what was written, and nothing may stop the store from listing and cleaning up.
func FuzzPointers(f *testing.F) {
	p := newPlace(f)
	s := p.open(f)
	data := archive(f, "one")
	made := put(f, s, data)
	reference := pointTo(f, s, "docker://localhost:5000/app:v1")
	files := map[bool]string{false: filepath.Join(s.Dir(), "sources", digest(data).String())}
	refs, err := filepath.Glob(filepath.Join(s.Dir(), "references", "*"))
	if err != nil || len(refs) != 1 {
		f.Fatal(refs, err)
	}
	files[true] = refs[0]
	for isReference, name := range files {
		good, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(isReference, good)
		f.Add(!isReference, good)
		f.Add(isReference, bytes.ReplaceAll(good, []byte("localhost"), []byte("localhosT")))
	}
	f.Add(true, []byte(`{"record":{"ref":"a","subjects":[""],"documents":[""]},"hmac-sha256":"00"}`))
	f.Fuzz(func(t *testing.T, isReference bool, record []byte) {
		if err := os.WriteFile(files[isReference], record, 0o600); err != nil {
			t.Fatal(err)
		}
		if e, err := s.Lookup(digest(data)); err == nil {
			if !reflect.DeepEqual(e.Meta, made.Meta) {
				t.Errorf("another image: %+v", e.Meta)
			}
			e.Close()
		}
		if r, err := s.Reference(reference.Ref); err == nil && !reflect.DeepEqual(r, reference) {
			t.Errorf("another reference: %+v", r)
		}
		items, err := s.List()
		if err != nil || len(items) != 1 {
			t.Errorf("listed %v, %v", items, err)
		}
		if _, err := s.Verify(context.Background(), nil, nil); err != nil {
			t.Error(err)
		}
		if _, err := s.Prune(context.Background(), store.PruneOptions{DryRun: true}); err != nil {
			t.Error(err)
		}
	})
}

// FuzzConfig reads store.yaml.
func FuzzConfig(f *testing.F) {
	for _, text := range []string{"", "quota: 20G\n", "quota: [1]\n", "quota: &a 1\nx: *a\n", "{quota: 1.5T}", "quota: -1", "--- ---"} {
		f.Add([]byte(text))
	}
	p := newPlace(f)
	p.open(f).Close()
	name := filepath.Join(filepath.Dir(p.KeyFile), "store.yaml")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := store.Open(p.Options); err == nil {
			s.Close()
		}
	})
}
