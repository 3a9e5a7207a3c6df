package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/oci"
	"github.com/clearrun/clearrun/image/ref"
)

// Remote is an image's repository in a registry or a mirror of it.
type Remote struct {
	// Root describes what the reference means: a manifest or an index.
	Root v1.Descriptor

	options   Options
	place     endpoint
	repo      *remote.Repository
	downloads *downloads
}

// Open asks the mirrors and then the registry for what r names, until one has it.
func Open(ctx context.Context, r ref.Ref, o Options) (*Remote, error) {
	want, err := wanted(r)
	if err != nil {
		return nil, err
	}
	if o.Limits, err = o.Limits.OrDefault(); err != nil {
		return nil, err
	}
	list, err := o.endpoints(r.Name)
	if err != nil {
		return nil, err
	}
	var errs []error
	for i, e := range list {
		made, err := o.open(ctx, e, want, list[i+1:])
		if err == nil {
			return made, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		errs = append(errs, fmt.Errorf("%s: %w", e, explain(err, e)))
	}
	return nil, errors.Join(errs...)
}

// open finds the image at e. A layer that is not to be had there is asked for at the others.
func (o Options) open(ctx context.Context, e endpoint, want string, others []endpoint) (*Remote, error) {
	repo, err := o.connect(ctx, e)
	if err != nil {
		return nil, err
	}
	root, err := repo.Resolve(ctx, want)
	if err != nil {
		return nil, err
	}
	if strings.Contains(want, ":") && string(root.Digest) != want {
		return nil, fmt.Errorf("the registry answered with another digest, %s", root.Digest)
	}
	r := &Remote{Root: root, options: o, place: e, repo: repo}
	r.downloads, err = newDownloads(o, repo, others)
	return r, err
}

// Place is where the image was found: the registry's name, or a mirror's.
func (r *Remote) Place() string { return r.place.host }

// Open returns a blob: a layer from its file, once it is there, or anything small as it
// comes. It is not checked.
func (r *Remote) Open(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	if oci.IsManifest(d.MediaType) || oci.IsIndex(d.MediaType) {
		body, err := r.repo.Manifests().Fetch(ctx, d)
		return body, explain(err, r.place)
	}
	if file, ok, err := r.downloads.open(ctx, d); ok || err != nil {
		return file, explain(err, r.place)
	}
	body, err := r.repo.Blobs().Fetch(ctx, d)
	return body, explain(err, r.place)
}

// Start begins to download layers, several at a time. Open then waits for them.
func (r *Remote) Start(layers []v1.Descriptor) error { return r.downloads.start(layers) }

// Discard deletes what was downloaded: it is of no more use.
func (r *Remote) Discard() { r.downloads.discard() }

// Close ends downloads that still run. Their files stay, to go on another time.
func (r *Remote) Close() error { return r.downloads.close() }

// Referring returns what cosign's tag names, and the referrers that the registry knows
// of, by its API or by tag (distribution spec 1.1, Listing Referrers).
func (r *Remote) Referring(ctx context.Context, subject image.Digest) ([]v1.Descriptor, error) {
	var list []v1.Descriptor
	tagged, err := r.repo.Resolve(ctx, oci.SignatureTag(subject))
	switch {
	case err == nil:
		list = append(list, tagged)
	case !errors.Is(err, errdef.ErrNotFound):
		return nil, explain(err, r.place)
	}
	d := v1.Descriptor{Digest: digest.Digest(string(subject.Algorithm()) + ":" + subject.Hex())}
	err = r.repo.Referrers(ctx, d, "", func(page []v1.Descriptor) error {
		list = append(list, oci.MayBeSignatures(page)...)
		if len(list) > referrersMax {
			return fmt.Errorf("more than %d manifests refer to %s", referrersMax, subject.Short())
		}
		return nil
	})
	if err != nil && !errors.Is(err, errdef.ErrNotFound) {
		return nil, explain(err, r.place)
	}
	return list, nil
}

// referrersMax bounds what an image may have attached to it.
const referrersMax = 256

// explain adds to a registry's answer what the user can do about it.
func explain(err error, e endpoint) error {
	var answer *errcode.ErrorResponse
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errdef.ErrNotFound):
		return fmt.Errorf("no such image: %w", err)
	case errors.Is(err, http.ErrSchemeMismatch):
		return fmt.Errorf("speaks no TLS: %w: with --plain-http it is asked without", err)
	case errors.Is(err, auth.ErrBasicCredentialNotFound),
		errors.As(err, &answer) && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden):
		return fmt.Errorf("access denied: log in with docker, podman or skopeo login %s, or name a file with --auth-file: %w", e.host, err)
	case errors.As(err, &answer) && answer.StatusCode == http.StatusTooManyRequests:
		return fmt.Errorf("asked too often: wait, or log in: %w", err)
	case isUnknownAuthority(err):
		return fmt.Errorf("%w: name its authority's certificate with --tls-ca, or put it into /etc/docker/certs.d/%s/ca.crt", err, e.host)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("no answer: %w", err)
	}
	return err
}
