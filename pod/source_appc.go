package pod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/discovery"
	"github.com/clearrun/clearrun/image/ref"
	"github.com/clearrun/clearrun/image/spool"
	"github.com/clearrun/clearrun/trust"
)

// appcImage is an ACI that was found by its name. The store keeps the file and its
// signature, so that a later run can check them again without a network.
type appcImage struct {
	aciFile
	asked     ref.Ref
	signature *os.File // nil: none
	keys      []string // URLs of its publisher's
	dir       string   // where it is kept, or shall be
	fetched   bool
	source    image.Digest // of the bytes, once they were examined
}

// appcImageFile is the image's name in the folder of its reference.
const appcImageFile = "image.aci"

// openAppc finds the image in the store or by discovery.
func openAppc(ctx context.Context, r ref.Ref, o Options) (source, error) {
	r.Labels = discovery.DefaultLabels(r.Labels)
	a := &appcImage{asked: r}
	if o.Store != nil {
		a.dir = o.Store.KeptDir(r.String())
	}
	if a.dir != "" && o.Pull != PullAlways {
		if found, err := a.reopen(); found || err != nil {
			return a, err
		}
	}
	if o.Pull == PullNever {
		return nil, errors.New("is not in the store, and --pull never keeps it from being fetched")
	}
	if err := a.fetch(ctx, o); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// reopen opens what an earlier run has kept.
func (a *appcImage) reopen() (bool, error) {
	file, err := os.Open(filepath.Join(a.dir, appcImageFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	a.aciFile = aciFile{file}
	a.signature, err = os.Open(filepath.Join(a.dir, appcImageFile+signatureSuffix))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, errors.Join(err, a.Close())
	}
	return true, nil
}

// fetch finds the image and downloads it to files without a name.
func (a *appcImage) fetch(ctx context.Context, o Options) error {
	limits, err := o.Limits.OrDefault()
	if err != nil {
		return err
	}
	do := o.Discovery
	o.progress("asking " + strings.SplitN(string(a.asked.Name), "/", 2)[0] + " for " + a.asked.String())
	place, err := discovery.Find(ctx, a.asked.Name, a.asked.Labels, do)
	if err != nil {
		return err
	}
	a.keys, a.fetched = place.Keys, true
	tmp := ""
	if a.dir != "" {
		tmp = o.Store.DownloadsDir() // on the file system where they may be kept
		if err := os.MkdirAll(tmp, 0o700); err != nil {
			return err
		}
	}
	file, err := spool.New(tmp)
	if err != nil {
		return err
	}
	a.aciFile = aciFile{file}
	o.progress("fetching " + place.Image)
	if err := discovery.Fetch(ctx, place.Image, file, limits.Bytes, do); err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	signature, err := spool.New(tmp)
	if err != nil {
		return err
	}
	if err := discovery.Fetch(ctx, place.Signature, signature, signatureMax, do); err != nil {
		o.progress("there is no signature: " + err.Error())
		return signature.Close()
	}
	a.signature = signature
	return nil
}

func (a *appcImage) examine(ctx context.Context, o Options, strict bool) (trust.Evidence, error) {
	e, err := a.check(ctx, o, strict)
	a.source = e.Source()
	return e, err
}

func (a *appcImage) check(ctx context.Context, o Options, strict bool) (trust.Evidence, error) {
	switch {
	case o.InsecureNoVerify:
		return trust.Unsigned(ctx, a.File)
	case o.Keyring == nil:
		return trust.Evidence{}, errNoKeyring
	}
	var signature []byte
	if a.signature != nil {
		var err error
		if signature, err = io.ReadAll(io.NewSectionReader(a.signature, 0, signatureMax)); err != nil {
			return trust.Evidence{}, err
		}
	}
	if !strict {
		return o.Keyring.Inspect(ctx, a.File, signature)
	}
	if signature == nil {
		return trust.Evidence{}, errors.New("is not signed: its publisher offers no signature; run it once without any check with --insecure-no-verify")
	}
	e, err := o.Keyring.Examine(ctx, a.File, signature)
	if err != nil && len(a.keys) > 0 {
		return e, fmt.Errorf("%w; its publisher says that these are its keys: %s", err, strings.Join(a.keys, " "))
	}
	return e, err
}

// rename changes nothing, but refuses an image that is not the one asked for.
func (a *appcImage) rename(meta *image.Meta) error {
	if meta.Name != a.asked.Name {
		return fmt.Errorf("is another image: it calls itself %s", meta.Name)
	}
	for _, l := range a.asked.Labels {
		value, ok := meta.Label(l.Name)
		if ok && value == l.Value || l.Name == "version" && l.Value == "latest" {
			continue
		}
		if ok { // what an image does not say of itself is left open
			return fmt.Errorf("is another image: its label %s is %q, not %q", l.Name, value, l.Value)
		}
	}
	return nil
}

// settle gives the files their names.
func (a *appcImage) settle(o Options) error {
	if !a.fetched || a.dir == "" {
		return nil
	}
	if err := o.Store.Keep(a.asked.String(), a.source); err != nil {
		return err
	}
	name := filepath.Join(a.dir, appcImageFile)
	if a.signature == nil {
		if err := os.Remove(name + signatureSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	} else if err := keepFile(a.signature, name+signatureSuffix); err != nil {
		return err
	}
	return keepFile(a.File, name)
}

// keepFile gives a file without a name one, in place of what is there.
func keepFile(f *os.File, name string) error {
	fresh := fmt.Sprintf("%s.%d", name, os.Getpid())
	err := unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.AT_FDCWD, fresh, unix.AT_SYMLINK_FOLLOW)
	if errors.Is(err, unix.ENOENT) { // its file system knows no files that never had a name
		err = copyFile(f, fresh)
	}
	if err == nil {
		err = os.Rename(fresh, name)
	}
	if err != nil {
		os.Remove(fresh)
		return fmt.Errorf("keep %s: %w", name, err)
	}
	return nil
}

func copyFile(f *os.File, name string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	to, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, io.NewSectionReader(f, 0, info.Size()))
	return errors.Join(err, to.Close())
}

// Close closes both files.
func (a *appcImage) Close() error {
	var errs []error
	for _, f := range []*os.File{a.File, a.signature} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
