package trust

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// logWriter appends to a locked log.
type logWriter struct {
	*Log
	head *head
	file *os.File
	size int64
	cut  int64 // bytes of a half-written record that were cut off
}

// recover finds the last record and holds it against the head. What a crash may have left
// is put right: half a record, and records that the head does not know of.
func (w *logWriter) recover() error {
	info, err := w.file.Stat()
	if err != nil {
		return err
	}
	w.size = info.Size()
	line, whole, err := lastLine(w.file, w.size)
	if err != nil {
		return err
	}
	if whole < w.size {
		if err := w.file.Truncate(whole); err != nil {
			return err
		}
		w.size, w.cut = whole, w.size-whole
	}
	if line != nil {
		last, err := unseal(line)
		if err == nil && last.Seq == w.head.Seq && last.Hash == w.head.Hash {
			return nil
		}
	}
	// Anything else is rare, and worth a look at the whole.
	sum, err := w.verify(w.head)
	if err != nil {
		return err
	}
	if len(sum.Faults) > 0 {
		return fmt.Errorf("%s: it was tampered with or damaged; clearrun log verify tells all: move %s away to begin anew, and keep it",
			sum.Faults[0], w.dir)
	}
	w.head.Seq, w.head.Hash = sum.Last, sum.Hash
	return nil
}

// lastLine returns the last whole line, without its end, and where it ends.
func lastLine(f *os.File, size int64) (line []byte, whole int64, err error) {
	const small, large = 8 << 10, 2 * lineMax // the whole line before half a one fits into the latter
	for window := int64(small); ; window = large {
		from := max(0, size-window)
		data := make([]byte, size-from)
		if _, err := f.ReadAt(data, from); err != nil && !errors.Is(err, io.EOF) {
			return nil, 0, err
		}
		end := bytes.LastIndexByte(data, '\n')
		start := bytes.LastIndexByte(data[:max(0, end)], '\n') + 1
		switch {
		case end >= 0 && (start > 0 || from == 0):
			return data[start:end], from + int64(end) + 1, nil
		case from == 0:
			return nil, 0, nil
		case window == large:
			return nil, 0, fmt.Errorf("%s ends with more than a record", f.Name())
		}
	}
}

// write appends the record, after one about a repair if there was one.
func (w *logWriter) write(r Record) (uint64, error) {
	if w.cut > 0 {
		n := w.cut
		w.cut = 0
		note := Record{Event: EventRepair, Decision: fmt.Sprintf("cut off %d bytes of a record that was not finished", n)}
		if _, err := w.write(note); err != nil {
			return 0, err
		}
	}
	r.Seq, r.Prev, r.Time = w.head.Seq+1, w.head.Hash, w.now().UTC()
	r.UID, r.PID, r.Login = os.Getuid(), os.Getpid(), loginUID()
	line, hash, err := r.seal()
	if err != nil {
		return 0, err
	}
	if _, err := w.file.Write(line); err != nil {
		return 0, errors.Join(err, w.file.Truncate(w.size)) // such as half of it on a full disk
	}
	if err := w.file.Sync(); err != nil {
		return 0, err
	}
	w.size += int64(len(line))
	w.head.Seq, w.head.Hash = r.Seq, hash
	return r.Seq, w.head.write()
}

// rotate puts the full file away, begins a new one and drops what is too old.
func (w *logWriter) rotate() error {
	first, err := firstRecord(w.file)
	if err != nil {
		return err
	}
	path := filepath.Join(w.dir, logFile)
	if err := os.Rename(path, filepath.Join(w.dir, fullName(first.Seq))); err != nil {
		return err
	}
	fresh, err := w.openCurrent()
	if err != nil {
		return err
	}
	w.file.Close() // all of it is on the disk
	w.file, w.size = fresh, 0
	if err := w.drop(); err != nil {
		return err
	}
	return syncDir(w.dir)
}

// drop removes the oldest files. The head says where the rest begins before they go.
func (w *logWriter) drop() error {
	full, err := w.full()
	if err != nil || len(full) <= w.bounds.Files {
		return err
	}
	gone, kept := full[:len(full)-w.bounds.Files], full[len(full)-w.bounds.Files:]
	first := Record{Seq: w.head.Seq + 1, Prev: w.head.Hash} // if no full one is kept
	if len(kept) > 0 {
		f, err := os.Open(filepath.Join(w.dir, fullName(kept[0])))
		if err != nil {
			return err
		}
		defer f.Close()
		if first, err = firstRecord(f); err != nil {
			return err
		}
	}
	w.head.First, w.head.FirstPrev = first.Seq, first.Prev
	if err := errors.Join(w.head.write(), w.head.file.Sync()); err != nil {
		return err
	}
	for _, seq := range gone {
		if err := os.Remove(filepath.Join(w.dir, fullName(seq))); err != nil {
			return err
		}
	}
	return nil
}

func firstRecord(f *os.File) (Record, error) {
	data := make([]byte, lineMax)
	n, err := f.ReadAt(data, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return Record{}, err
	}
	line, _, ok := bytes.Cut(data[:n], []byte{'\n'})
	if !ok {
		return Record{}, fmt.Errorf("%s has no first record", f.Name())
	}
	r, err := unseal(line)
	if err != nil {
		return r, fmt.Errorf("%s: the first record %w", f.Name(), err)
	}
	return r, nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
