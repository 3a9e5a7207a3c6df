package trust

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The files of a decision log. Full ones are renamed after their first record.
const (
	logFile    = "decisions.jsonl"
	logPrefix  = "decisions-"
	logSuffix  = ".jsonl"
	logHead    = "head"
	logDirMode = fs.FileMode(0o700)
	logMode    = fs.FileMode(0o600)
)

// LogBounds bound the size of a decision log.
type LogBounds struct {
	FileBytes int64 // a file that has reached it is full
	Files     int   // as many full ones are kept
}

// defaultLogBounds keep some 200,000 records in 144 MiB.
var defaultLogBounds = LogBounds{FileBytes: 8 << 20, Files: 17}

// Log is a decision log: what was asked for, what was decided and how it ended, one
// JSON object a line. Each line holds the hash of the one before it, and a file beside
// them the hash of the last one, so that Verify finds what was changed, removed or
// moved. Whoever may write both can still forge the whole: keep the hash that Verify
// prints elsewhere to find that, too.
//
// It is opened anew for each record, under a lock, by any number of processes.
type Log struct {
	dir    string
	bounds LogBounds
	now    func() time.Time
}

// OpenLog names the log in dir, which need not exist yet. The zero LogBounds are the
// usual ones.
func OpenLog(dir string, bounds LogBounds) *Log {
	if bounds == (LogBounds{}) {
		bounds = defaultLogBounds
	}
	return &Log{dir: dir, bounds: bounds, now: time.Now}
}

// LogDir is where decisions are logged: in configDir if there is one; else in
// /var/lib/clearrun for root and $XDG_STATE_HOME/clearrun for a user.
func LogDir(configDir string) (string, error) {
	if configDir != "" {
		return filepath.Join(configDir, "log"), nil
	}
	if os.Geteuid() == 0 {
		return "/var/lib/clearrun/log", nil
	}
	base := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(base) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("decision log: %w: set XDG_STATE_HOME, or name a --config-dir", err)
		}
		base = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(base, "clearrun", "log"), nil
}

// Dir returns the log's folder.
func (l *Log) Dir() string { return l.dir }

// Append writes a record at the log's end, to stay there when it returns. It fills in
// Seq, Time, who asks, Prev and Hash, and returns the Seq.
func (l *Log) Append(r Record) (seq uint64, err error) {
	err = l.write(func(w *logWriter) error {
		seq, err = w.write(r)
		return err
	})
	return seq, err
}

// write has records written.
func (l *Log) write(records func(*logWriter) error) error {
	if err := l.locked(records); err != nil {
		return fmt.Errorf("decision log: %w; nothing runs unrecorded: make %s writable for you, or name another --config-dir", err, l.dir)
	}
	return nil
}

// locked gives a logWriter to records, as long as it holds the lock.
func (l *Log) locked(records func(*logWriter) error) error {
	h, err := l.lock(os.O_RDWR|os.O_CREATE, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer h.close()
	f, err := l.openCurrent()
	if err != nil {
		return err
	}
	defer func() { f.Close() }()
	w := &logWriter{Log: l, head: h, file: f}
	if err := w.recover(); err != nil {
		return err
	}
	if w.size >= l.bounds.FileBytes {
		if err := w.rotate(); err != nil {
			return err
		}
		f = w.file
	}
	return records(w)
}

// openCurrent opens the file that is written to.
func (l *Log) openCurrent() (*os.File, error) {
	path := filepath.Join(l.dir, logFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW, logMode)
	if err != nil {
		return nil, err
	}
	if err := checkOwner(path); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// full lists the full files, the oldest first, each with its first Seq.
func (l *Log) full() ([]uint64, error) {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return nil, err
	}
	var list []uint64
	for _, e := range entries {
		s, ok := strings.CutPrefix(e.Name(), logPrefix)
		s, ok2 := strings.CutSuffix(s, logSuffix)
		seq, err := strconv.ParseUint(s, 10, 64)
		if ok && ok2 && err == nil && fullName(seq) == e.Name() {
			list = append(list, seq)
		}
	}
	slices.Sort(list)
	return list, nil
}

func fullName(seq uint64) string { return fmt.Sprintf("%s%012d%s", logPrefix, seq, logSuffix) }

// paths lists all files, in the order of their records.
func (l *Log) paths() ([]string, error) {
	full, err := l.full()
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, seq := range full {
		paths = append(paths, filepath.Join(l.dir, fullName(seq)))
	}
	return append(paths, filepath.Join(l.dir, logFile)), nil
}

// loginUID is audit's, which survives sudo and su; nil: there is none.
func loginUID() *int {
	const unset = 1<<32 - 1 // (uid_t) -1
	data, err := os.ReadFile("/proc/self/loginuid")
	if err != nil {
		return nil
	}
	id, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 32)
	if err != nil || id == unset {
		return nil
	}
	login := int(id)
	return &login
}
