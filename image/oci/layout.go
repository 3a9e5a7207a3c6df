package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/ref"
)

// The names in a layout (image spec, image-layout.md).
const (
	layoutFile = v1.ImageLayoutFile
	indexFile  = v1.ImageIndexFile
	blobsDir   = v1.ImageBlobsDir
)

// Layout is an OCI image layout: a Source, and the names of what it holds.
type Layout struct {
	files files
	index v1.Index
}

// files is where a layout's files lie: a folder or a tar.
type files interface {
	// open returns the regular file of that name and its size.
	open(name string) (io.ReadCloser, int64, error)
	Close() error
}

// OpenLayout opens the layout in a folder.
func OpenLayout(dir string, limits image.Limits) (*Layout, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, image.WithoutPath(err)
	}
	return newLayout(folder{root}, limits)
}

// newLayout reads the layout's index. It owns f, also if it fails.
func newLayout(f files, limits image.Limits) (*Layout, error) {
	l, err := readLayout(f, limits)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return l, nil
}

func readLayout(f files, limits image.Limits) (*Layout, error) {
	limits, err := limits.OrDefault()
	if err != nil {
		return nil, err
	}
	data, err := readSmall(f, layoutFile, limits.Manifest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("is no OCI image layout: there is no %s in it", layoutFile)
	}
	if err != nil {
		return nil, err
	}
	var header v1.ImageLayout
	if err := json.Unmarshal(data, &header); err != nil {
		return nil, fmt.Errorf("%s: %w", layoutFile, err)
	}
	if header.Version != v1.ImageLayoutVersion {
		return nil, fmt.Errorf("%s: layout version %.40q, want %s", layoutFile, header.Version, v1.ImageLayoutVersion)
	}
	if data, err = readSmall(f, indexFile, limits.Manifest); err != nil {
		return nil, err
	}
	index, err := parseIndex(data, v1.MediaTypeImageIndex)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", indexFile, err)
	}
	return &Layout{files: f, index: index}, nil
}

// readSmall reads a file of at most limit bytes.
func readSmall(f files, name string, limit int64) ([]byte, error) {
	r, size, err := f.open(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, image.WithoutPath(err))
	}
	defer r.Close()
	if size > limit {
		return nil, fmt.Errorf("%s: %d bytes, the limit is %d", name, size, limit)
	}
	data, err := io.ReadAll(io.LimitReader(r, limit))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return data, nil
}

// Open opens a blob of the layout.
func (l *Layout) Open(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	digest, err := DigestOf(d)
	if err != nil {
		return nil, err
	}
	r, size, err := l.files.open(path.Join(blobsDir, string(digest.Algorithm()), digest.Hex()))
	if err != nil {
		return nil, image.WithoutPath(err)
	}
	if size != d.Size {
		return nil, errors.Join(fmt.Errorf("has %d bytes, its descriptor says %d", size, d.Size), r.Close())
	}
	return r, nil
}

// Close closes the folder or the archive.
func (l *Layout) Close() error { return l.files.Close() }

// What tools besides the spec call an image in a layout's index.
const (
	containerdName  = "io.containerd.image.name"
	cosignImageName = "dev.cosignproject.cosign/imageRef"
)

// names are all that an entry of the index may be asked for by.
func names(d v1.Descriptor) []string {
	var list []string
	for _, key := range []string{v1.AnnotationRefName, containerdName, cosignImageName} {
		if n := d.Annotations[key]; n != "" {
			list = append(list, n)
		}
	}
	return list
}

// Find returns the image of that name, and the name of its repository if the layout
// tells. Without a name, it is the only image in the layout.
func (l *Layout) Find(name string) (v1.Descriptor, image.Name, error) {
	var found []v1.Descriptor
	var known []string
	for _, d := range l.index.Manifests {
		if isSignature(d) {
			continue
		}
		all := names(d)
		known = append(known, all...)
		for _, n := range all {
			if n == name {
				found = append(found, d)
				break
			}
		}
		if name == "" {
			found = append(found, d)
		}
	}
	if name == "" {
		found = preferNamed(found)
	}
	d, err := pick(found, name, known)
	if err != nil {
		return d, "", err
	}
	for _, n := range names(d) {
		if r, ok := ref.ParseRemote(n); ok {
			return d, r.Name, nil
		}
	}
	return d, "", nil
}

// preferNamed leaves out entries without a name, if others have one: they are there for
// their sake.
func preferNamed(found []v1.Descriptor) []v1.Descriptor {
	var named []v1.Descriptor
	for _, d := range found {
		if len(names(d)) > 0 {
			named = append(named, d)
		}
	}
	if len(named) > 0 {
		return named
	}
	return found
}

// pick decides among the entries that a name fits. Several may be one image for
// several platforms.
func pick(found []v1.Descriptor, name string, known []string) (v1.Descriptor, error) {
	list := strings.Join(known, ", ")
	switch {
	case len(found) == 0 && name == "":
		return v1.Descriptor{}, errors.New("holds no image")
	case len(found) == 0:
		return v1.Descriptor{}, fmt.Errorf("holds no image %q, but: %.400s", name, list)
	case len(found) == 1:
		return found[0], nil
	case name == "":
		return v1.Descriptor{}, fmt.Errorf("holds %d images: name one behind a colon: %.400s", len(found), list)
	}
	return choose(found)
}

// folder is a layout in a folder. Nothing outside of it is opened.
type folder struct{ root *os.Root }

func (f folder) Close() error { return f.root.Close() }

func (f folder) open(name string) (io.ReadCloser, int64, error) {
	// O_NONBLOCK: a FIFO would make the open wait.
	file, err := f.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("is not a regular file")
	}
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, info.Size(), nil
}
