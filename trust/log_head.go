package trust

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// headSize is that of the head's file in bytes: no more than a disk's sector, which is
// written whole or not at all.
const headSize = 512

// head says where the chain begins and ends. It is written behind the record that it
// names, so that after a crash there may be more records than it knows of, but no fewer.
type head struct {
	Seq  uint64 `json:"seq"`  // of the last record
	Hash string `json:"hash"` // of it
	// First and FirstPrev are Seq and Prev of the oldest record that is kept.
	First     uint64 `json:"first"`
	FirstPrev string `json:"firstPrev"`

	file  *os.File // holds the lock
	empty bool     // nothing was ever written to the file
}

// lock opens the head with a lock of that kind. A new log's head is before the first
// record.
func (l *Log) lock(flags, kind int) (*head, error) {
	if flags&os.O_CREATE != 0 {
		if err := os.MkdirAll(l.dir, logDirMode); err != nil {
			return nil, err
		}
	}
	if err := checkOwner(l.dir); err != nil {
		return nil, err
	}
	path := filepath.Join(l.dir, logHead)
	f, err := os.OpenFile(path, flags|syscall.O_NOFOLLOW, logMode)
	if err != nil {
		return nil, err
	}
	h := &head{First: 1, FirstPrev: genesis(), Hash: genesis(), file: f}
	if err := errors.Join(checkOwner(path), flock(f, kind)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := h.read(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return h, nil
}

func flock(f *os.File, kind int) error {
	for {
		err := unix.Flock(int(f.Fd()), kind)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func (h *head) close() { h.file.Close() } // and the lock with it

// read fills in what the file says.
func (h *head) read() error {
	data, err := io.ReadAll(io.NewSectionReader(h.file, 0, headSize))
	if err != nil {
		return err
	}
	data = bytes.TrimSpace(data)
	if h.empty = len(data) == 0; h.empty {
		return nil
	}
	if err := json.Unmarshal(data, h); err != nil || len(h.Hash) != hashTextLen || h.First == 0 {
		return fmt.Errorf("%s is damaged", h.file.Name())
	}
	return nil
}

// write makes the head known. That there is one is put on the disk for good at once; later
// ones may come to it when they will.
func (h *head) write() error {
	data, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if len(data) >= headSize {
		return fmt.Errorf("head of %d bytes", len(data))
	}
	line := bytes.Repeat([]byte{' '}, headSize)
	copy(line, data)
	line[headSize-1] = '\n'
	if _, err = h.file.WriteAt(line, 0); err != nil || !h.empty {
		return err
	}
	h.empty = false
	return h.file.Sync()
}
