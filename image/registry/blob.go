package registry

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// get downloads a blob, or what of it is not in its file yet.
func (d *downloads) get(b *blob) (*os.File, error) {
	file, err := lock(d.ctx, filepath.Join(d.options.CacheDir, b.digest.String()+partSuffix))
	if err != nil {
		return nil, fmt.Errorf("download: %w", err)
	}
	t := &transfer{downloads: d, blob: b, file: file, sum: b.digest.Algorithm().New(), from: d.repo}
	if err := t.anywhere(); err != nil {
		return nil, errors.Join(fmt.Errorf("layer %s: %w", b.digest.Short(), err), file.Close())
	}
	// Others may have it, too. Who waits for several files must not keep any from them.
	return file, unix.Flock(int(file.Fd()), unix.LOCK_UN)
}

// transfer is one download on its way.
type transfer struct {
	*downloads
	blob *blob
	file *os.File
	from *remote.Repository
	sum  hash.Hash // of the first at bytes
	at   int64
}

// anywhere downloads the blob from where its image was found or, failing that, from the
// other places that may have it: a mirror can have lost a layer, or damaged one.
func (t *transfer) anywhere() error {
	if err := t.resume(); err != nil {
		return err
	}
	err := t.run()
	var errs []error
	for _, e := range t.others {
		if err == nil || t.ctx.Err() != nil {
			break
		}
		errs = append(errs, err)
		t.options.notice("layer %s: %v; asking %s", t.blob.digest.Short(), err, e)
		if t.from, err = t.options.connect(t.ctx, e); err == nil {
			err = t.run()
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", e, explain(err, e))
		}
	}
	if err == nil {
		return nil
	}
	return errors.Join(append(errs, err)...)
}

// run goes on until the blob is complete and right, as long as it moves.
func (t *transfer) run() error {
	resumed := t.at > 0
	farthest := t.at
	for failures := 0; ; {
		err := t.more()
		if err == nil {
			if err = t.check(); err == nil {
				return nil
			}
			if !resumed { // what is there now came from the registry, all of it
				return err
			}
			resumed = false
			if err := t.restart(); err != nil {
				return err
			}
			continue
		}
		if failures++; t.at > farthest { // starting anew is no progress
			failures, farthest = 1, t.at
		}
		if failures > triesMax || !isInterruption(err) || t.ctx.Err() != nil {
			return err
		}
		t.options.notice("the connection broke after %d of %d bytes; going on", t.at, t.blob.size)
		if err := pause(t.ctx, t.options.backoff(failures)); err != nil {
			return err
		}
	}
}

// resume takes over what an earlier try has left in the file.
func (t *transfer) resume() error {
	info, err := t.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() > t.blob.size {
		return t.restart()
	}
	n, err := io.Copy(t.sum, io.NewSectionReader(t.file, 0, info.Size()))
	if err != nil {
		return err
	}
	t.at = n
	t.add(n)
	return nil
}

func (t *transfer) restart() error {
	t.add(-t.at)
	t.at = 0
	t.sum.Reset()
	return t.file.Truncate(0)
}

func (t *transfer) check() error {
	if got := hex.EncodeToString(t.sum.Sum(nil)); got != t.blob.digest.Hex() {
		return errors.Join(fmt.Errorf("its digest is another one, %s-%.12s: it was changed or damaged", t.blob.digest.Algorithm(), got),
			t.restart())
	}
	return nil
}

// more asks for what is missing and appends it to the file.
func (t *transfer) more() error {
	if t.at == t.blob.size {
		return nil
	}
	ctx, cancel := context.WithCancelCause(t.ctx)
	defer cancel(nil)
	body, err := t.request(ctx)
	if err != nil {
		return err
	}
	defer body.Close()
	idle := time.AfterFunc(idleTimeout, func() { cancel(errIdle) })
	defer idle.Stop()
	buf := make([]byte, 128<<10)
	for t.at < t.blob.size {
		n, err := body.Read(buf[:min(int64(len(buf)), t.blob.size-t.at)])
		idle.Reset(idleTimeout)
		if _, werr := t.file.WriteAt(buf[:n], t.at); werr != nil {
			return werr
		}
		t.sum.Write(buf[:n])
		t.at += int64(n)
		t.add(int64(n))
		if err != nil && t.at < t.blob.size {
			return interruption{errors.Join(err, context.Cause(ctx))}
		}
	}
	return nil
}

var errIdle = errors.New("nothing came for a minute")

// interruption is the end of a body before its time, after which one can go on.
type interruption struct{ error }

func isInterruption(err error) bool {
	var i interruption
	return errors.As(err, &i)
}

// request asks for the blob from where the file ends (distribution spec 1.1, Pulling
// blobs; RFC 9110, section 14).
func (t *transfer) request(ctx context.Context) (io.ReadCloser, error) {
	reference := t.from.Reference
	scheme := "https"
	if t.from.PlainHTTP {
		scheme = "http"
	}
	url := fmt.Sprintf("%s://%s/v2/%s/blobs/%s:%s", scheme, reference.Host(), reference.Repository, t.blob.digest.Algorithm(), t.blob.digest.Hex())
	ctx = auth.AppendRepositoryScope(ctx, reference, auth.ActionPull)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if t.at > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", t.at))
	}
	resp, err := t.from.Client.Do(req)
	if err != nil {
		return nil, err
	}
	switch {
	case resp.StatusCode == http.StatusPartialContent && t.at > 0 && startsAt(resp, t.at):
		return resp.Body, nil
	case resp.StatusCode == http.StatusOK: // all of it, whatever was asked for
		if err := t.restart(); err != nil {
			return nil, errors.Join(err, resp.Body.Close())
		}
		return resp.Body, nil
	}
	resp.Body.Close()
	return nil, &errcode.ErrorResponse{Method: req.Method, URL: req.URL, StatusCode: resp.StatusCode}
}

// startsAt reports whether a partial answer is the part that was asked for.
func startsAt(resp *http.Response, at int64) bool {
	var first, last int64
	_, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/", &first, &last)
	return err == nil && first == at
}

// lock opens a file of the cache, and waits until no other download has it.
func lock(ctx context.Context, name string) (*os.File, error) {
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		f, err := tryLock(name)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return f, err
		}
		if err := pause(ctx, wait); err != nil {
			return nil, fmt.Errorf("wait for another download of the same layer: %w", err)
		}
	}
}

// tryLock opens and locks a file, or fails with EWOULDBLOCK. Nothing but a regular file
// of that very name will do.
func tryLock(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	open, err1 := f.Stat()
	there, err2 := os.Lstat(name)
	switch {
	case err1 == nil && !open.Mode().IsRegular():
		err = fmt.Errorf("%s is not a regular file", name)
	case err1 != nil || err2 != nil || !os.SameFile(open, there):
		err = unix.EWOULDBLOCK // deleted meanwhile: try again
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// pause waits, or returns the context's error.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
