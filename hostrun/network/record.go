package network

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/utils"
	"golang.org/x/sys/unix"
)

// record is what it takes to undo a network after clearrun was killed. It is on the disk
// before any plugin runs, and its file is locked (flock(2)) as long as the run, or a
// plugin for it, lives. A record that nobody holds is left over, and the next start
// undoes it.
type record struct {
	Format    int             `json:"format"`
	Container string          `json:"container"` // CNI_CONTAINERID
	Host      hostNetwork     `json:"host"`
	Config    json.RawMessage `json:"config"` // the list, whole
	Plugins   []string        `json:"pluginDirs"`
	Interface string          `json:"interface"`
	NetNS     string          `json:"netns"` // where the namespace is mounted
	// Arguments are those of the capabilities of plugins (CNI conventions).
	Arguments map[string]json.RawMessage `json:"arguments,omitempty"`

	list *libcni.NetworkConfigList
}

// recordFormat changes when an older clearrun could not undo what a record is about.
const recordFormat = 1

// The names of what lies in the state directory: of each container a record, which has another
// name until it is written, and the place where its network namespace is mounted.
const (
	recordSuffix    = ".json"
	draftSuffix     = ".draft"
	namespaceSuffix = ".netns"
	resultsDir      = "cache" // libcni's
)

// maxRecord bounds a record, in bytes: that of the configuration, and what surrounds it.
const maxRecord = 2*maxConfig + 64<<10

// parseRecord reads the record of a container in dir.
func parseRecord(data []byte, dir, container string) (*record, error) {
	r := &record{}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(r); err != nil {
		return nil, err
	}
	switch {
	case d.More():
		return nil, errors.New("something stands behind it")
	case r.Format != recordFormat:
		return nil, fmt.Errorf("format %d, and this version knows %d", r.Format, recordFormat)
	case r.Container != container:
		return nil, fmt.Errorf("it is about container %q", r.Container)
	case r.NetNS != filepath.Join(dir, container+namespaceSuffix):
		return nil, fmt.Errorf("network namespace %q is not its own", r.NetNS)
	case len(r.Plugins) == 0 || slices.ContainsFunc(r.Plugins, func(dir string) bool { return !filepath.IsAbs(dir) }):
		return nil, errors.New("directories of plugins: want absolute paths")
	}
	if fault := utils.ValidateContainerID(r.Container); fault != nil {
		return nil, fault
	}
	if fault := utils.ValidateInterfaceName(r.Interface); fault != nil {
		return nil, fault
	}
	var err error
	r.list, err = parseList(r.Config, "")
	return r, err
}

// hostNetwork is the network that plugins have changed: the host's network namespace, which is another
// one where clearrun is run in a namespace itself, and since which start of the host.
type hostNetwork struct {
	Boot      string `json:"boot"`
	Namespace uint64 `json:"namespace"` // inode
}

// thisHost is that of this thread.
func thisHost() (h hostNetwork) {
	if text, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		h.Boot = strings.TrimSpace(string(text))
	}
	var st unix.Stat_t
	if unix.Stat("/proc/thread-self/ns/net", &st) == nil {
		h.Namespace = st.Ino
	}
	return h
}

// elsewhere reports whether what is recorded is to be undone in another namespace than this
// thread's. Where the host has started anew meanwhile, nothing is left of any.
func (h hostNetwork) elsewhere() bool {
	here := thisHost()
	return h.Boot == here.Boot && h.Namespace != here.Namespace
}

// attachment is a container's record, held.
type attachment struct {
	cni    CNI
	record *record
	file   *os.File // locked
	ports  reservation
}

// record makes a container's record.
func (c CNI) record(list *libcni.NetworkConfigList, ports []Port) (*attachment, error) {
	var id [8]byte
	_, _ = rand.Read(id[:]) // which never fails
	container := "clearrun-" + hex.EncodeToString(id[:])
	r := &record{
		Format: recordFormat, Container: container, Host: thisHost(), Config: list.Bytes, Plugins: c.PluginDirs,
		Interface: interfaceName, NetNS: filepath.Join(c.StateDir, container+namespaceSuffix), list: list,
	}
	if len(ports) > 0 {
		m, err := mappings(ports)
		if err != nil {
			return nil, err
		}
		r.Arguments = map[string]json.RawMessage{portMappings: m}
	}
	if err := os.MkdirAll(c.StateDir, 0o700); err != nil {
		return nil, err
	}
	a := &attachment{cni: c, record: r}
	if err := a.create(); err != nil {
		return nil, fmt.Errorf("record it: %w", err)
	}
	return a, nil
}

func (a *attachment) path(suffix string) string {
	return filepath.Join(a.cni.StateDir, a.record.Container+suffix)
}

// create writes the record, and gives it its name when it is on the disk.
func (a *attachment) create() (err error) {
	if a.file, err = a.cni.draft(a.path(draftSuffix)); err != nil {
		return err
	}
	data, err := json.Marshal(a.record)
	if err == nil {
		_, err = a.file.Write(data)
	}
	if err == nil {
		err = a.file.Sync()
	}
	if err == nil {
		err = os.Rename(a.path(draftSuffix), a.path(recordSuffix))
	}
	if err == nil {
		err = syncDir(a.cni.StateDir)
	}
	if err != nil {
		a.forget()
	}
	return err
}

// draft makes a file that is locked before anybody can take it for left over.
func (c CNI) draft(path string) (*os.File, error) {
	unlock, err := lockDir(c.StateDir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// lockDir keeps others from making records and from looking for left-over ones.
func lockDir(dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		if err = unix.Flock(int(d.Fd()), unix.LOCK_EX); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return func() { d.Close() }, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// forget removes the record, of which nothing is left to undo, and gives up the lock.
func (a *attachment) forget() {
	unpin(a.record.NetNS)
	for _, suffix := range []string{draftSuffix, recordSuffix} {
		_ = os.Remove(a.path(suffix))
	}
	a.release()
}

// release gives up what this process holds of it.
func (a *attachment) release() {
	a.ports.release()
	a.ports = nil
	a.file.Close()
}

// pin mounts the network namespace on a path, where it stays when its processes are gone: as long
// as it is there, plugins find in it what they have to undo.
func pin(ns *os.File, path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE|os.O_EXCL, 0o400)
	if err != nil {
		return err
	}
	f.Close()
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", ns.Fd()), path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount the network namespace on %s: %w", path, err)
	}
	return nil
}

// unpin removes such a mount, or what is left of it.
func unpin(path string) {
	_ = unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	_ = os.Remove(path)
}

// pinned reports whether a namespace is mounted there. After the host's start anew there is none.
func pinned(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.NSFS_MAGIC
}

// leftOver claims the records that nobody holds, and says what is wrong with those that
// cannot be read.
func (c CNI) leftOver() (claimed []*attachment, faults []error) {
	entries, err := os.ReadDir(c.StateDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // the usual case
	}
	unlock := func() {}
	if err == nil {
		unlock, err = lockDir(c.StateDir)
	}
	if err != nil {
		return nil, []error{err}
	}
	defer unlock()
	for _, e := range entries {
		path := filepath.Join(c.StateDir, e.Name())
		container, isRecord := strings.CutSuffix(e.Name(), recordSuffix)
		if !isRecord && filepath.Ext(path) != draftSuffix {
			continue
		}
		f := claim(path)
		switch {
		case f == nil:
		case !isRecord: // no plugin had been called
			_ = os.Remove(path)
			f.Close()
		default:
			r, err := readRecord(f, c.StateDir, container)
			if err != nil {
				f.Close()
				faults = append(faults, fmt.Errorf("%s, of a run that was killed: %w: undo its network by hand, and remove it", path, err))
				continue
			}
			if r.Host.elsewhere() {
				f.Close()
				continue
			}
			claimed = append(claimed, &attachment{cni: c, record: r, file: f})
		}
	}
	return claimed, faults
}

// claim opens and locks a file; nil: somebody else has it, or it is gone.
func claim(path string) *os.File {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil
	}
	var st unix.Stat_t
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil || unix.Fstat(int(f.Fd()), &st) != nil || st.Nlink == 0 {
		f.Close()
		return nil
	}
	return f
}

func readRecord(f *os.File, dir, container string) (*record, error) {
	data, err := io.ReadAll(io.LimitReader(f, maxRecord+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxRecord {
		return nil, fmt.Errorf("longer than %d bytes", maxRecord)
	}
	return parseRecord(data, dir, container)
}
