package main

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/guest/proto"
)

// writeFiles writes the host's files into the app's root, then the host name's
// files where neither the host nor the image has them.
func writeFiles(start *proto.Start) error {
	for i := range start.Files {
		f := &start.Files[i]
		if err := replaceFile(f.Path, f.Content, f.Mode); err != nil {
			return fail("files", "write "+f.Path, err)
		}
	}
	name := hostname(start)
	for _, f := range []proto.File{
		{Path: "/etc/hostname", Content: name + "\n"},
		{Path: "/etc/hosts", Content: "127.0.0.1\tlocalhost " + name + "\n"},
	} {
		err := writeFile(f.Path, unix.O_EXCL, f.Content, 0o644)
		if err != nil && err != unix.EEXIST {
			return fail("files", "write "+f.Path, err)
		}
	}
	return nil
}

// replaceFile writes a file in place of whatever the image has at path. A symbolic
// link is replaced, not followed: an image's /etc/resolv.conf often leads to a
// directory that only a full system has.
func replaceFile(path, content string, mode uint32) error {
	err := writeFile(path, unix.O_TRUNC|unix.O_NOFOLLOW, content, mode)
	if err == unix.ELOOP {
		if err := unix.Unlink(path); err != nil {
			return err
		}
		err = writeFile(path, unix.O_EXCL, content, mode)
	}
	return err
}

var errRelative = errors.New("not an absolute path")

// writeFile creates path, with missing parents, and writes content. flags are open's.
func writeFile(path string, flags int, content string, mode uint32) error {
	slash := strings.LastIndexByte(path, '/')
	if !strings.HasPrefix(path, "/") {
		return errRelative
	}
	flags |= unix.O_WRONLY | unix.O_CREAT | unix.O_CLOEXEC
	fd, err := openFile(path, flags, mode)
	if err == unix.ENOENT && slash > 0 && makeDirs(path[:slash], 0o755) == nil {
		fd, err = openFile(path, flags, mode)
	}
	if err != nil {
		return err
	}
	_, err = fdStream(fd).Write([]byte(content))
	if closed := unix.Close(fd); err == nil {
		err = closed
	}
	return err
}

// openFile opens a path that may lead through symbolic links of the image, but none of
// /proc that would lead to what this process has open.
func openFile(path string, flags int, mode uint32) (int, error) {
	return unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{
		Flags: uint64(flags), Mode: uint64(mode), Resolve: unix.RESOLVE_NO_MAGICLINKS,
	})
}

// workDir changes to the app's working directory, making it if need be. The app
// inherits it: a later failure to enter it cannot be taken for one of exec.
func workDir(dir string) error {
	if dir == "" {
		dir = "/"
	}
	if dir[0] != '/' {
		return fail("files", "enter "+dir, errRelative)
	}
	err := unix.Chdir(dir)
	if err == unix.ENOENT {
		if err = makeDirs(strings.TrimRight(dir, "/"), 0o755); err == nil {
			err = unix.Chdir(dir)
		}
	}
	return fail("files", "enter "+dir, err)
}

// maxDatabase bounds /etc/passwd and /etc/group, in bytes: they come from the image.
const maxDatabase = 1 << 20

var errTooLarge = errors.New("file is too large")

// readFile reads a file of at most maxDatabase bytes to its end.
func readFile(path string) (string, error) {
	// O_NONBLOCK: a FIFO of the image must not hold up the start.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	buf := make([]byte, 0, 4096)
	for {
		n, err := unix.Read(fd, buf[len(buf):cap(buf)])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return "", err
		case n == 0:
			return string(buf), nil
		}
		buf = buf[:len(buf)+n]
		if len(buf) > maxDatabase {
			return "", errTooLarge
		}
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, 2*len(buf)), buf...)
		}
	}
}
