package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/appc/spec/schema"
	"github.com/appc/spec/schema/types"
	"github.com/klauspost/compress/gzip"
	"github.com/ulikunitz/xz"
	"golang.org/x/sys/unix"
)

// build writes the image and leaves no half of one behind.
func build(o options) (err error) {
	manifest, err := manifestOf(o)
	if err != nil {
		return err
	}
	f, err := os.Create(o.out)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			err = errors.Join(err, os.Remove(o.out))
		}
	}()
	w, err := compressor(o.compress, f)
	if err != nil {
		return err
	}
	if err := writeArchive(w, manifest, o); err != nil {
		return err
	}
	return w.Close()
}

func manifestOf(o options) ([]byte, error) {
	name, err := types.NewACIdentifier(o.name)
	if err != nil {
		return nil, fmt.Errorf("-name: %w", err)
	}
	m := schema.BlankImageManifest()
	m.Name = *name
	labels := [][2]string{{"version", o.version}, {"os", "linux"}, {"arch", "amd64"}}
	for _, l := range labels {
		if l[1] != "" {
			m.Labels = append(m.Labels, types.Label{Name: types.ACIdentifier(l[0]), Value: l[1]})
		}
	}
	if len(o.exec) > 0 {
		m.App = &types.App{Exec: o.exec, User: o.user, Group: o.group, WorkingDirectory: o.dir}
		for _, e := range o.env {
			k, v, _ := strings.Cut(e, "=")
			m.App.Environment = append(m.App.Environment, types.EnvironmentVariable{Name: k, Value: v})
		}
	}
	return json.Marshal(m)
}

// writeArchive packs the folder in the order of its names (aci.md, Image Layout).
func writeArchive(w io.Writer, manifest []byte, o options) error {
	tw := tar.NewWriter(w)
	head := &tar.Header{Name: "manifest", Mode: 0o644, Size: int64(len(manifest)), ModTime: time.Unix(0, 0)}
	if err := tw.WriteHeader(head); err != nil {
		return err
	}
	if _, err := tw.Write(manifest); err != nil {
		return err
	}
	err := filepath.WalkDir(o.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(o.root, path)
		if err != nil {
			return err
		}
		return writeEntry(tw, path, filepath.Join("rootfs", rel), o.keepOwners)
	})
	if err != nil {
		return err
	}
	return tw.Close()
}

func writeEntry(tw *tar.Writer, path, name string, keepOwners bool) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	var target string
	if info.Mode()&fs.ModeSymlink != 0 {
		if target, err = os.Readlink(path); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	h.Name = name
	if info.IsDir() {
		h.Name += "/"
	}
	h.Format = tar.FormatPAX
	h.AccessTime, h.ChangeTime = time.Time{}, time.Time{}
	h.Uname, h.Gname = "", ""
	if !keepOwners {
		h.Uid, h.Gid, h.ModTime = 0, 0, time.Unix(0, 0)
	}
	if h.PAXRecords, err = xattrs(path); err != nil {
		return err
	}
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(tw, f)
	return errors.Join(err, f.Close())
}

// xattrs reads what a root filesystem needs: file capabilities and user attributes.
func xattrs(path string) (map[string]string, error) {
	list := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, list)
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list attributes of %s: %w", path, err)
	}
	records := make(map[string]string)
	for name := range bytes.SplitSeq(list[:n], []byte{0}) {
		key := string(name)
		if key != "security.capability" && !strings.HasPrefix(key, "user.") {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, key, value)
		if err != nil {
			return nil, fmt.Errorf("attribute %s of %s: %w", key, path, err)
		}
		records["SCHILY.xattr."+key] = string(value[:n])
	}
	return records, nil
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

func compressor(kind string, w io.Writer) (io.WriteCloser, error) {
	switch kind {
	case "none":
		return nopCloser{w}, nil
	case "gzip":
		return gzip.NewWriter(w), nil
	case "xz":
		return xz.NewWriter(w)
	case "bzip2":
		return bzip2(w)
	}
	return nil, fmt.Errorf("-compress %q: want gzip, bzip2, xz or none", kind)
}

// filter is a running program that compresses.
type filter struct {
	io.WriteCloser
	cmd *exec.Cmd
}

// bzip2 runs the program of that name: Go's library only reads the format.
func bzip2(w io.Writer) (io.WriteCloser, error) {
	cmd := exec.Command("bzip2", "-c")
	cmd.Stdout, cmd.Stderr = w, os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("bzip2: %w", err)
	}
	return filter{in, cmd}, nil
}

func (f filter) Close() error {
	return errors.Join(f.WriteCloser.Close(), f.cmd.Wait())
}
