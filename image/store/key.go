package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// keySize is that of the HMAC key in bytes: as long as the hash, RFC 2104 section 3.
const keySize = 32

// loadKey reads the key file, or makes one with a fresh random key. Losing the file
// costs no more than the store's content.
func loadKey(path string) ([]byte, error) {
	key, err := readKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := os.MkdirAll(filepath.Dir(path), dirMode); err != nil {
		return nil, fmt.Errorf("store key: %w", err)
	}
	if err := writeKey(path); err != nil {
		return nil, fmt.Errorf("store key: %w", err)
	}
	return readKey(path)
}

// writeKey puts a complete key at path unless another process was first.
func writeKey(path string) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".store.key-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	key := make([]byte, keySize)
	rand.Read(key) // never fails: crypto/rand's promise since Go 1.24
	_, err = tmp.Write(key)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func readKey(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("store key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("store key: %w", err)
	}
	if err := checkOwner(path, info); err != nil {
		return nil, fmt.Errorf("store key: %w", err)
	}
	if info.Mode().Perm()&^fileMode != 0 {
		return nil, fmt.Errorf("store key: %s is readable by others (mode %04o): delete it and the store", path, info.Mode().Perm())
	}
	key, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("store key: %w", err)
	}
	if len(key) != keySize {
		return nil, fmt.Errorf("store key: %s holds %d bytes, want %d: delete it and the store", path, len(key), keySize)
	}
	return key, nil
}
