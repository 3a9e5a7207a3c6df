package pod

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/oci"
	"github.com/clearrun/clearrun/image/ref"
	"github.com/clearrun/clearrun/trust"
)

// ociFile is an OCI image in a layout or an archive.
type ociFile struct{ *oci.Artifact }

// openOCI finds the image that the reference names.
func openOCI(ctx context.Context, r ref.Ref, o Options) (source, error) {
	artifact, err := resolveFile(ctx, r, o)
	if err != nil {
		return nil, err
	}
	switch {
	case o.Name != "":
		artifact.Name = o.Name
	case artifact.Name == "":
		artifact.Name = localName(r.Path)
	}
	return ociFile{artifact}, nil
}

func resolveFile(ctx context.Context, r ref.Ref, o Options) (*oci.Artifact, error) {
	if r.Transport == ref.OCI {
		layout, err := oci.OpenLayout(r.Path, o.Limits)
		return resolveIn(ctx, layout, r, o, err)
	}
	file, err := openFile(ctx, r.Path)
	if err != nil {
		return nil, err
	}
	if r.Transport == ref.DockerArchive {
		return oci.ResolveDockerArchive(ctx, file, r.Tag, "", o.Limits)
	}
	layout, err := oci.OpenArchive(ctx, file, "", o.Limits)
	return resolveIn(ctx, layout, r, o, err)
}

// resolveIn finds the image in a layout that was opened, if err is nil.
func resolveIn(ctx context.Context, layout *oci.Layout, r ref.Ref, o Options, err error) (*oci.Artifact, error) {
	if err != nil {
		return nil, err
	}
	root, name, err := layout.Find(r.Tag)
	if err != nil {
		return nil, errors.Join(err, layout.Close())
	}
	artifact, err := oci.Resolve(ctx, layout, root, name, o.Limits)
	if err != nil {
		return nil, errors.Join(err, layout.Close())
	}
	return artifact, nil
}

// localName makes up a name for an image that brings none: localhost, as podman does,
// and the name of its folder or file.
func localName(path string) image.Name {
	abs, err := filepath.Abs(path)
	if err != nil {
		abs = path
	}
	base := strings.TrimSuffix(strings.ToLower(filepath.Base(abs)), ".tar")
	base = strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '_' {
			return r
		}
		return '-'
	}, base), "-._")
	if name, err := image.ParseName("localhost/" + base); err == nil {
		return name
	}
	return "localhost/image"
}

func (f ociFile) examine(ctx context.Context, o Options, strict bool) (trust.Evidence, error) {
	if o.InsecureNoVerify {
		return trust.UnsignedOCI(f.Digest()), nil
	}
	signatures, err := f.Signatures(ctx)
	if err != nil {
		return trust.Evidence{}, err
	}
	return o.examineOCI(f.Subjects, f.Name, signatures, strict)
}

// examineOCI looks at the signatures of a manifest or of an index that led to it.
func (o Options) examineOCI(subjects []image.Digest, name image.Name, s image.Signatures, strict bool) (trust.Evidence, error) {
	switch {
	case o.InsecureNoVerify:
		return trust.UnsignedOCI(subjects[0]), nil
	case o.Keyring == nil:
		return trust.Evidence{}, errNoKeyring
	case strict:
		return o.Keyring.ExamineOCI(subjects, name, s)
	}
	return o.Keyring.InspectOCI(subjects, name, s)
}

func (f ociFile) describe(context.Context, Options) (image.Meta, image.Digest, error) {
	meta, err := f.Meta()
	return meta, f.Digest(), err
}

func (f ociFile) read(ctx context.Context, _ Options, scratch string) (*image.Image, image.Digest, error) {
	img, err := f.Read(ctx, scratch)
	return img, f.Digest(), err
}

func (f ociFile) rename(meta *image.Meta) error {
	meta.Name = f.Name
	return nil
}

func (f ociFile) settle(Options) error { return nil }
