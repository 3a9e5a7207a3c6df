package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ulikunitz/xz"
)

// provenance is provenance.json, which hack/kernel-build.sh writes: what the kept
// kernel was made of. Digests are sha256 in hex, sizes are in bytes.
type provenance struct {
	Source struct{ Package, Version, SHA256 string }
	Config struct {
		Fragment string // of config.fragment
		Config   string // of the complete .config
	}
	Patches    []patch
	Tools      struct{ Compiler, Linker string }
	VMLinux    artifact
	Compressed struct {
		File string
		artifact
	}
}

type patch struct{ Name, SHA256 string }

type artifact struct {
	SHA256 string
	Size   int64
}

func readProvenance(dir string) (*provenance, error) {
	data, err := os.ReadFile(filepath.Join(dir, "provenance.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s holds no kernel: run make kernel", dir)
	}
	if err != nil {
		return nil, err
	}
	p := &provenance{}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(p); err != nil {
		return nil, fmt.Errorf("provenance.json: %w", err)
	}
	return p, nil
}

// check reports whether data is the artifact of that name.
func (a artifact) check(name string, data []byte) error {
	if int64(len(data)) != a.Size || digest(data) != a.SHA256 {
		return fmt.Errorf("%s is not the one in provenance.json: run make kernel, or restore both", name)
	}
	return nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// unpack returns the kernel, checked before and after it is decompressed.
func (p *provenance) unpack(dir string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(dir, filepath.Base(p.Compressed.File)))
	if err != nil {
		return nil, err
	}
	if err := p.Compressed.check(p.Compressed.File, data); err != nil {
		return nil, err
	}
	r, err := xz.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Compressed.File, err)
	}
	kernel, err := io.ReadAll(io.LimitReader(r, p.VMLinux.Size+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Compressed.File, err)
	}
	return kernel, p.VMLinux.check("vmlinux", kernel)
}

// checkInputs reports whether the source pin, the fragment and the patches in dir
// are those that the kernel was built of.
func (p *provenance) checkInputs(dir string) error {
	var errs []error
	stale := func(what string) {
		errs = append(errs, fmt.Errorf("%s is not what the kept kernel was built of: run make kernel", what))
	}
	pin, err := readPin(dir)
	if err != nil {
		return err
	}
	if pin["package"] != p.Source.Package || pin["version"] != p.Source.Version || pin["sha256"] != p.Source.SHA256 {
		stale("source")
	}
	fragment, err := os.ReadFile(filepath.Join(dir, "config.fragment"))
	if err != nil {
		return err
	}
	if digest(fragment) != p.Config.Fragment {
		stale("config.fragment")
	}
	names, err := filepath.Glob(filepath.Join(dir, "patches", "*.patch"))
	if err != nil {
		return err
	}
	if len(names) != len(p.Patches) {
		stale("the number of patches")
		return errors.Join(errs...)
	}
	for i, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if base := filepath.Base(name); p.Patches[i] != (patch{base, digest(data)}) {
			stale(base)
		}
	}
	return errors.Join(errs...)
}

// readPin reads the file "source": lines of key=value, and comments.
func readPin(dir string) (map[string]string, error) {
	data, err := os.ReadFile(filepath.Join(dir, "source"))
	if err != nil {
		return nil, err
	}
	pin := make(map[string]string)
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(line, "#") {
			pin[key] = value
		}
	}
	return pin, nil
}
