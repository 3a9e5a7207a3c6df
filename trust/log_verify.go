package trust

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// LogSummary is what Verify finds.
type LogSummary struct {
	Records uint64 `json:"records"`
	First   uint64 `json:"first"` // Seq of the oldest record that is kept
	Last    uint64 `json:"last"`
	Hash    string `json:"hash"` // of the last one
	// Unfinished is the size of a half-written record at the end, which the next
	// record will replace: no fault, but a crash.
	Unfinished int64    `json:"unfinished,omitempty"`
	Faults     []string `json:"faults"` // none: the log is whole
}

// faultsMax bounds what is told: after one fault the rest follows from it.
const faultsMax = 20

// Verify reads the whole log and looks for what was changed, removed, added or moved.
func (l *Log) Verify() (LogSummary, error) {
	sum, err := l.underLock(nil)
	if err != nil {
		return sum, fmt.Errorf("decision log: %w", err)
	}
	return sum, nil
}

// VerifyNoted is Verify, and asks besides that the log still holds the record with a hash that was
// noted elsewhere: whoever can write the log can forge a chain, but not to that hash.
func (l *Log) VerifyNoted(hash string) (LogSummary, error) {
	if b, err := hex.DecodeString(hash); err != nil || len(b) != sha256.Size {
		return LogSummary{}, fmt.Errorf("decision log: hash %.80q: want the %d hex digits that clearrun log verify prints", hash, hashTextLen)
	}
	hash = strings.ToLower(hash)
	found := hash == genesis() // it was noted before the first record
	sum, err := l.Each(func(r Record) error {
		found = found || r.Hash == hash
		return nil
	})
	if err == nil && !found {
		sum.Faults = append(sum.Faults, fmt.Sprintf("no record has the noted hash %s: it was removed, or it or one before it was forged; or it is older than record %d, the oldest that is kept", hash, sum.First))
	}
	return sum, err
}

// Each reads the log in order and hands over each record that is whole.
func (l *Log) Each(show func(Record) error) (LogSummary, error) {
	sum, err := l.underLock(show)
	if err != nil {
		return sum, fmt.Errorf("decision log: %w", err)
	}
	return sum, nil
}

func (l *Log) underLock(show func(Record) error) (LogSummary, error) {
	h, err := l.lock(os.O_RDONLY, unix.LOCK_SH)
	if errors.Is(err, fs.ErrNotExist) {
		// Nothing was ever written, or the head is gone.
		if paths, err := l.paths(); err == nil && (len(paths) > 1 || exists(paths[0])) {
			return LogSummary{Faults: []string{"there are records, but no " + filepath.Join(l.dir, logHead)}}, nil
		}
		return LogSummary{Hash: genesis(), Faults: []string{}}, nil
	}
	if err != nil {
		return LogSummary{}, err
	}
	defer h.close()
	return l.walk(h, show)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func (l *Log) verify(h *head) (LogSummary, error) { return l.walk(h, nil) }

// walk follows the chain from the head's first record to the end.
func (l *Log) walk(h *head, show func(Record) error) (LogSummary, error) {
	w := &logWalk{head: h, show: show, next: h.First, prev: h.FirstPrev}
	w.sum = LogSummary{First: h.First, Last: h.First - 1, Hash: h.FirstPrev, Faults: []string{}}
	w.seen = h.Seq == h.First-1 && h.Hash == h.FirstPrev
	paths, err := l.paths()
	if err != nil {
		return w.sum, err
	}
	for i, path := range paths {
		if err := w.file(path, i == len(paths)-1); err != nil {
			return w.sum, err
		}
	}
	switch {
	case h.empty && w.sum.Records > 1:
		w.fault("%s was emptied", h.file.Name())
	case w.sum.Last < h.Seq:
		w.fault("the last records are gone: %d was written, %d is the last one that is there", h.Seq, w.sum.Last)
	case !w.seen:
		w.fault("record %d is not the one that was written", h.Seq)
	}
	return w.sum, nil
}

// logWalk is a walk along the chain.
type logWalk struct {
	head *head
	show func(Record) error
	sum  LogSummary
	next uint64 // Seq that comes next
	prev string // its Prev
	seen bool   // the record that the head names was passed
}

func (w *logWalk) fault(format string, args ...any) {
	if len(w.sum.Faults) < faultsMax {
		w.sum.Faults = append(w.sum.Faults, fmt.Sprintf(format, args...))
	}
}

// file reads one file. Only the last one may end in the middle of a record.
func (w *logWalk) file(path string, last bool) error {
	f, err := os.Open(path)
	if last && errors.Is(err, fs.ErrNotExist) {
		return nil // a rotation was interrupted
	}
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, lineMax)
	for number := 1; ; number++ {
		line, err := r.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF) && len(line) == 0:
			return nil
		case errors.Is(err, io.EOF) && last:
			w.sum.Unfinished = int64(len(line))
			return nil
		case errors.Is(err, io.EOF) || errors.Is(err, bufio.ErrBufferFull):
			w.fault("%s:%d: is no record", path, number)
			return nil // no line to go on from
		case err != nil:
			return err
		}
		if err := w.line(fmt.Sprintf("%s:%d", path, number), bytes.TrimSuffix(line, []byte{'\n'})); err != nil {
			return err
		}
	}
}

// line takes the next record. After a fault the walk goes on from what it found.
func (w *logWalk) line(where string, line []byte) error {
	r, err := unseal(line)
	if err != nil {
		w.fault("%s: %v", where, err)
		w.next, w.prev = w.next+1, ""
		return nil
	}
	if r.Seq < w.head.First && w.sum.Records == 0 {
		return nil // of a file that was about to be dropped
	}
	switch {
	case r.Seq != w.next:
		w.fault("%s: record %d stands where %d should be", where, r.Seq, w.next)
	case w.prev != "" && r.Prev != w.prev:
		w.fault("%s: record %d does not follow the one before it", where, r.Seq)
	}
	if r.Seq == w.head.Seq && r.Hash == w.head.Hash {
		w.seen = true
	}
	w.next, w.prev = r.Seq+1, r.Hash
	w.sum.Records++
	w.sum.Last, w.sum.Hash = r.Seq, r.Hash
	if w.show != nil {
		return w.show(r)
	}
	return nil
}
