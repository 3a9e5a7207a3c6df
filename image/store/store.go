package store

import (
	"errors"
	"os"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/rootfs"
)

// Store is a folder of rendered images.
type Store struct{ dir string }

// Options says where a store lies. Empty fields mean the defaults of the user.
type Options struct {
	Dir     string // root: /var/lib/clearrun, else $XDG_DATA_HOME/clearrun
	KeyFile string // root: /etc/clearrun/store.key, else $XDG_CONFIG_HOME/clearrun/store.key
}

// Open opens the store, making it if need be.
func Open(o Options) (*Store, error) {
	return nil, errors.New("store.Open: not built yet")
}

// Entry is a rendered image whose record and hash tree were found intact.
type Entry struct {
	Digest image.Digest
	Info   rootfs.Info
	Meta   image.Meta
	Path   string // of the root image

	file *os.File
}

// File returns the root image, open for reading only. It stays the Entry's.
func (e *Entry) File() *os.File { return e.file }

// Close closes the root image. Close is idempotent.
func (e *Entry) Close() error { return e.file.Close() }
