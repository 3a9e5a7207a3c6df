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
	"github.com/clearrun/clearrun/image/spool"
	"github.com/clearrun/clearrun/trust"
)

// signatureSuffix follows the image's file name (appc spec, discovery.md).
const signatureSuffix = ".asc"

// signatureMax bounds the signature file in bytes.
const signatureMax = 1 << 20

// aciFile is an ACI in a file that was opened once. It is read once for its digest and
// signature, and only if the store does not know that digest a second time to unpack it;
// then the digest of what was unpacked must be the same.
type aciFile struct{ *os.File }

func openACI(ctx context.Context, path string) (source, error) {
	f, err := openFile(ctx, path)
	if err != nil {
		return nil, err
	}
	return aciFile{f}, nil
}

func (o Options) signaturePath() string {
	if o.SignaturePath != "" {
		return o.SignaturePath
	}
	return o.Path + signatureSuffix
}

func (f aciFile) examine(ctx context.Context, o Options, strict bool) (trust.Evidence, error) {
	switch {
	case o.InsecureNoVerify:
		return trust.Unsigned(ctx, f)
	case o.Keyring == nil:
		return trust.Evidence{}, errNoKeyring
	case !strict:
		return f.inspect(ctx, o)
	}
	signature, err := readSignature(o.signaturePath())
	if err != nil {
		return trust.Evidence{}, err
	}
	return o.Keyring.Examine(ctx, f, signature)
}

// inspect is examine for images that may lack a signature: only the file beside the
// image may, not one that the user named.
func (f aciFile) inspect(ctx context.Context, o Options) (trust.Evidence, error) {
	if o.SignaturePath == "" {
		if _, err := os.Lstat(o.signaturePath()); errors.Is(err, fs.ErrNotExist) {
			return o.Keyring.Inspect(ctx, f, nil)
		}
	}
	signature, err := readSignature(o.signaturePath())
	if err != nil {
		return trust.Evidence{}, err
	}
	return o.Keyring.Inspect(ctx, f, signature)
}

func (f aciFile) read(ctx context.Context, o Options, scratch string) (*image.Image, image.Digest, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, image.Digest{}, err
	}
	return aci.Read(ctx, f, scratch, o.Limits)
}

func (f aciFile) describe(ctx context.Context, o Options) (image.Meta, image.Digest, error) {
	img, source, err := f.read(ctx, o, "")
	if err != nil {
		return image.Meta{}, source, err
	}
	return img.Meta(), source, img.Close()
}

// rename changes nothing: an ACI's name is in its bytes.
func (f aciFile) rename(*image.Meta) error { return nil }

func (f aciFile) settle(Options) error { return nil }

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

// openFile opens the file once and for all. What is not a regular file, such as a
// pipe, is copied first: it must be read twice.
func openFile(ctx context.Context, path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, image.WithoutPath(err)
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
