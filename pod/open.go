package pod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/aci"
	"github.com/clearrun/clearrun/image/rootfs"
	"github.com/clearrun/clearrun/image/spool"
	"github.com/clearrun/clearrun/image/store"
	"github.com/clearrun/clearrun/trust"
)

// Options says which image to open, what to check it against, and how the user
// wants its app changed.
type Options struct {
	Path string // of the ACI
	// SignaturePath names the detached signature. Empty: Path + ".asc".
	SignaturePath string

	Store   *store.Store
	Keyring *trust.Keyring // may be nil with InsecureNoVerify
	Policy  *trust.Policy  // nil: there is no policy file
	// MinTier is the least isolation asked for. Zero: vm.
	MinTier trust.Tier
	// InsecureNoVerify skips the signature, for this run only.
	InsecureNoVerify bool
	// Limits bound what the image may unpack to. Zero: image.DefaultLimits.
	Limits image.Limits

	Overrides Overrides
	// Progress, if set, is told what takes time, in words for the user.
	Progress func(step string)
}

// signatureSuffix follows the image's file name (appc spec, discovery.md).
const signatureSuffix = ".asc"

// signatureMax bounds the signature file in bytes.
const signatureMax = 1 << 20

func (o Options) signaturePath() string {
	if o.SignaturePath != "" {
		return o.SignaturePath
	}
	return o.Path + signatureSuffix
}

func (o Options) progress(step string) {
	if o.Progress != nil {
		o.Progress(step)
	}
}

// Open verifies the image, gets its rendered root from the store or renders it,
// and returns a Pod that a runner may run. The caller closes it.
//
// The file is opened once. It is read once for its digest and signature, and only if
// the store does not know that digest a second time to unpack it; then the digest of
// what was unpacked must be the same.
func Open(ctx context.Context, o Options) (*Pod, error) {
	file, err := openImage(ctx, o.Path)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", o.Path, err)
	}
	defer file.Close()
	evidence, err := o.examine(ctx, file)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", o.Path, err)
	}
	entry, err := o.Store.Lookup(evidence.Source())
	if errors.Is(err, store.ErrNotFound) {
		entry, err = o.render(ctx, file, evidence)
	}
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", o.Path, err)
	}
	pod, err := o.decide(evidence, entry)
	if err != nil {
		return nil, errors.Join(err, entry.Close())
	}
	return pod, nil
}

func (o Options) decide(evidence trust.Evidence, entry *store.Entry) (*Pod, error) {
	// The store's record says that the bytes with this digest hold the entry's image.
	verdict, err := trust.Decide(o.request(entry.Meta, evidence, evidence.Source()))
	if err != nil {
		return nil, err
	}
	return New(verdict, entry, o.Overrides)
}

func (o Options) request(meta image.Meta, evidence trust.Evidence, source image.Digest) trust.Request {
	return trust.Request{
		Name:             meta.Name,
		Digest:           meta.Digest,
		Source:           source,
		Evidence:         evidence,
		MinTier:          o.MinTier,
		InsecureNoVerify: o.InsecureNoVerify,
		Labels:           meta.Labels,
		Policy:           o.Policy,
	}
}

// examine reads the file once and looks at its signature. Unless the policy knows of
// images that need none, one without a good signature ends here.
func (o Options) examine(ctx context.Context, file io.Reader) (trust.Evidence, error) {
	if o.InsecureNoVerify {
		return trust.Unsigned(ctx, file)
	}
	if o.Keyring == nil {
		return trust.Evidence{}, errors.New("no keyring to check the signature with")
	}
	if !o.Policy.NeedsSignature() {
		return o.inspect(ctx, file)
	}
	signature, err := readSignature(o.signaturePath())
	if err != nil {
		return trust.Evidence{}, err
	}
	return o.Keyring.Examine(ctx, file, signature)
}

// inspect is examine for images that may lack a signature: only the file beside the
// image may, not one that the user named.
func (o Options) inspect(ctx context.Context, file io.Reader) (trust.Evidence, error) {
	if o.SignaturePath == "" {
		if _, err := os.Lstat(o.signaturePath()); errors.Is(err, fs.ErrNotExist) {
			return o.Keyring.Inspect(ctx, file, nil)
		}
	}
	signature, err := readSignature(o.signaturePath())
	if err != nil {
		return trust.Evidence{}, err
	}
	return o.Keyring.Inspect(ctx, file, signature)
}

func readSignature(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("is not signed: there is no %s: get the signature from where the image came from and put it there, "+
			"or run once without any check with --insecure-no-verify", path)
	}
	if err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, signatureMax+1))
	if err != nil {
		return nil, fmt.Errorf("signature %s: %w", path, err)
	}
	if len(data) > signatureMax {
		return nil, fmt.Errorf("signature %s: more than %d bytes", path, signatureMax)
	}
	return data, nil
}

// render unpacks the file into the store. Whether the image may run is asked before
// it is rendered: what is refused costs the store nothing.
func (o Options) render(ctx context.Context, file io.ReadSeeker, evidence trust.Evidence) (*store.Entry, error) {
	return o.Store.Put(ctx, evidence.Source(), func(ctx context.Context, root *os.File, scratch string) (store.Rendered, error) {
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			return store.Rendered{}, err
		}
		o.progress("unpacking " + o.Path)
		img, source, err := aci.Read(ctx, file, scratch, o.Limits)
		if err != nil {
			return store.Rendered{}, err
		}
		defer img.Close()
		meta := img.Meta()
		if _, err := trust.Decide(o.request(meta, evidence, source)); err != nil {
			return store.Rendered{}, err
		}
		o.progress("rendering " + string(meta.Name))
		info, err := rootfs.Render(ctx, img, root)
		return store.Rendered{Info: info, Meta: meta}, err
	})
}

// openImage opens the file once and for all. What is not a regular file, such as a
// pipe, is copied first: it must be read twice.
func openImage(ctx context.Context, path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, pathless(err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = errors.New("is a folder")
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if info.Mode().IsRegular() {
		return f, nil
	}
	defer f.Close()
	copied, err := spool.New("")
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { f.Close() }) // a pipe may never end
	defer stop()
	_, err = io.Copy(copied, io.LimitReader(f, image.DefaultLimits().Bytes))
	if err == nil {
		_, err = copied.Seek(0, io.SeekStart)
	}
	if err = errors.Join(err, ctx.Err()); err != nil {
		return nil, errors.Join(err, copied.Close())
	}
	return copied, nil
}

// pathless takes the path out of an error whose context names it already.
func pathless(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
