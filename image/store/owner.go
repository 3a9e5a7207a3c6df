package store

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// dirMode is that of every folder here, fileMode that of every file.
const (
	dirMode  fs.FileMode = 0o700
	fileMode fs.FileMode = 0o600

	writableByOthers fs.FileMode = 0o022
)

// checkOwner refuses what somebody else owns or may write: whoever can write the
// store or its key could put his own image into it.
func checkOwner(path string, info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s: owner is unknown", path)
	}
	if int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d and not to you (%d): chown it, or choose another store", path, stat.Uid, os.Geteuid())
	}
	if info.Mode()&writableByOthers != 0 {
		return fmt.Errorf("%s is writable by others (mode %04o): chmod go-w it after checking its content", path, info.Mode().Perm())
	}
	return nil
}
