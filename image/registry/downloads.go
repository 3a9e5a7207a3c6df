package registry

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/oci"
)

// jobs is how many layers are downloaded at a time.
const jobs = 4

// keepPartial is how long the file of a broken download is kept for another try.
const keepPartial = 7 * 24 * time.Hour

// partSuffix ends the names of files in the cache.
const partSuffix = ".part"

// downloads are the layers of one image on their way into files.
type downloads struct {
	options Options
	repo    *remote.Repository
	others  []endpoint // that may have a layer which repo lacks
	ctx     context.Context
	cancel  context.CancelFunc
	workers sync.WaitGroup

	mu       sync.Mutex
	blobs    map[image.Digest]*blob
	progress Progress
}

// blob is one layer. Its file is locked while it is downloaded.
type blob struct {
	digest image.Digest
	size   int64
	done   chan struct{} // closed when err or file is final
	file   *os.File
	err    error
}

func newDownloads(o Options, repo *remote.Repository, others []endpoint) (*downloads, error) {
	d := &downloads{options: o, repo: repo, others: others, blobs: make(map[image.Digest]*blob)}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d, nil
}

// start begins to download the layers. What of one is in the cache counts as done.
func (d *downloads) start(layers []v1.Descriptor) error {
	if err := os.MkdirAll(d.options.CacheDir, 0o700); err != nil {
		return fmt.Errorf("download: %w", err)
	}
	sweep(d.options.CacheDir)
	queue := make(chan *blob, len(layers))
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range layers {
		digest, err := oci.DigestOf(l)
		if err != nil {
			return err
		}
		if d.blobs[digest] != nil {
			continue
		}
		if l.Size < 0 || l.Size > d.options.Limits.Bytes-d.progress.Total {
			return fmt.Errorf("download: more than %d bytes", d.options.Limits.Bytes)
		}
		b := &blob{digest: digest, size: l.Size, done: make(chan struct{})}
		d.blobs[digest] = b
		d.progress.Total += l.Size
		d.progress.Layers++
		queue <- b
	}
	close(queue)
	for range min(jobs, len(queue)) {
		d.workers.Go(func() {
			for b := range queue {
				b.file, b.err = d.get(b)
				close(b.done)
			}
		})
	}
	return nil
}

// open returns a layer's file. ok is false if it was not started.
func (d *downloads) open(ctx context.Context, desc v1.Descriptor) (r io.ReadCloser, ok bool, err error) {
	digest, err := oci.DigestOf(desc)
	if err != nil {
		return nil, false, err
	}
	d.mu.Lock()
	b := d.blobs[digest]
	d.mu.Unlock()
	if b == nil {
		return nil, false, nil
	}
	select {
	case <-ctx.Done():
		return nil, true, ctx.Err()
	case <-b.done:
	}
	if b.err != nil {
		return nil, true, b.err
	}
	return io.NopCloser(io.NewSectionReader(b.file, 0, b.size)), true, nil
}

// add counts bytes and tells about it.
func (d *downloads) add(n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.progress.Done += n
	if d.options.Progress != nil {
		d.options.Progress(d.progress)
	}
}

// discard deletes the files of this image. Whoever has one open keeps it.
func (d *downloads) discard() {
	d.finish()
	for _, b := range d.blobs {
		if b.file != nil {
			os.Remove(b.file.Name())
		}
	}
}

// finish ends what still runs.
func (d *downloads) finish() {
	d.cancel()
	d.workers.Wait()
}

func (d *downloads) close() error {
	d.finish()
	var errs []error
	for _, b := range d.blobs {
		if b.file != nil {
			errs = append(errs, b.file.Close())
			b.file, b.err = nil, os.ErrClosed
		}
	}
	return errors.Join(errs...)
}

// sweep deletes what nobody came back for.
func sweep(dir string) {
	names, _ := filepath.Glob(filepath.Join(dir, "*"+partSuffix))
	for _, name := range names {
		info, err := os.Lstat(name)
		if err != nil || time.Since(info.ModTime()) < keepPartial {
			continue
		}
		if f, err := tryLock(name); err == nil {
			os.Remove(name)
			f.Close()
		}
	}
}

func isUnknownAuthority(err error) bool {
	var unknown x509.UnknownAuthorityError
	return errors.As(err, &unknown)
}
