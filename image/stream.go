package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
)

// ContextReader reads from R until its context ends, whose error it then returns.
type ContextReader struct {
	Ctx context.Context
	R   io.Reader
}

// Read reads from R, or returns the error of the context that has ended.
func (c ContextReader) Read(p []byte) (int, error) {
	if err := c.Ctx.Err(); err != nil {
		return 0, err
	}
	return c.R.Read(p)
}

// DrainZeros reads r to its end. Behind the end of a tar there may be padding and
// nothing else: some readers of tar go on there.
func DrainZeros(r io.Reader) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		for _, b := range buf[:n] {
			if b != 0 {
				return errors.New("data behind the end of the archive")
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return ArchiveError(err)
		}
	}
}

// ArchiveError is the error of who reads a tar. Of one that is cut short or damaged it says what helps.
func ArchiveError(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, tar.ErrHeader) {
		return fmt.Errorf("read archive: %w: it is cut short or damaged: fetch it again, or build it anew if it was made like that", err)
	}
	return fmt.Errorf("read archive: %w", err)
}
