package pod

import (
	"context"
	"errors"
	"fmt"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/ref"
	"github.com/clearrun/clearrun/trust"
)

// source is an image whose bytes were found, before anything is known of their worth.
type source interface {
	// examine looks at the signatures and gives the digest of the distributed bytes. Under
	// strict, an image without a good signature ends here.
	examine(ctx context.Context, o Options, strict bool) (trust.Evidence, error)
	// describe is read without the files.
	describe(ctx context.Context, o Options) (image.Meta, image.Digest, error)
	// read unpacks the image, and returns the digest of the bytes that it was in.
	read(ctx context.Context, o Options, scratch string) (*image.Image, image.Digest, error)
	// rename puts the name that the image has here into what the store knows of its bytes,
	// which may have come under another name the first time. It refuses bytes that are not
	// the image that was asked for.
	rename(meta *image.Meta) error
	// settle keeps what a later run needs, once the store has the image.
	settle(o Options) error
	// Close gives up the bytes.
	Close() error
}

// find opens what the reference names.
func (o Options) find(ctx context.Context, r ref.Ref) (source, error) {
	if r.Transport == ref.ACI {
		return openACI(ctx, r.Path)
	}
	if o.SignaturePath != "" {
		return nil, errors.New("--signature is for ACIs in files: other images have their signatures where they come from")
	}
	switch r.Transport {
	case ref.OCI, ref.OCIArchive, ref.DockerArchive:
		return openOCI(ctx, r, o)
	case ref.Docker:
		return openRemote(ctx, r, o)
	case ref.Appc:
		return openAppc(ctx, r, o)
	}
	return nil, fmt.Errorf("images from %s: cannot be fetched yet", r.Transport)
}
