package rootfs_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/aci"
	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/image/rootfs"
)

// open reads an archive as an ACI.
func open(t testing.TB, archive []byte) *image.Image {
	t.Helper()
	img, _, err := aci.Read(context.Background(), bytes.NewReader(archive), t.TempDir(), image.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { img.Close() })
	return img
}

// render renders into a file of the test's.
func render(t testing.TB, img *image.Image) (*os.File, rootfs.Info) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "root.img"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	info, err := rootfs.Render(context.Background(), img, image.Limits{}, f)
	if err != nil {
		t.Fatal(err)
	}
	return f, info
}

// capability is a security.capability attribute as setcap writes it: version 2,
// effective, permitted CAP_NET_RAW (linux/capability.h, vfs_cap_data).
const capability = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// everything is an ACI with all that a file can be.
func everything(t testing.TB) []byte {
	return everythingIn(t, "rootfs/", []acitest.Entry{acitest.Manifest("example.com/all", "")})
}

// everythingIn is an archive with all that a file can be, below prefix, behind the
// entries first.
func everythingIn(t testing.TB, prefix string, first []acitest.Entry) []byte {
	owned := func(e acitest.Entry, uid, gid int, mode int64) acitest.Entry {
		e.Uid, e.Gid, e.Mode, e.Format = uid, gid, mode, tar.FormatPAX
		return e
	}
	attrs := func(e acitest.Entry, records ...string) acitest.Entry {
		e.Format, e.PAXRecords = tar.FormatPAX, make(map[string]string)
		for i := 0; i < len(records); i += 2 {
			e.PAXRecords["SCHILY.xattr."+records[i]] = records[i+1]
		}
		return e
	}
	at := func(e acitest.Entry, when time.Time) acitest.Entry {
		e.Format, e.ModTime = tar.FormatPAX, when
		return e
	}
	device := func(typeflag byte, name string, major, minor int64) acitest.Entry {
		return acitest.Entry{Header: tar.Header{Typeflag: typeflag, Name: name, Mode: 0o660, Gid: 6, Devmajor: major, Devminor: minor}}
	}
	entries := append(first,
		owned(acitest.Dir(filepath.Clean(prefix)), 0, 0, 0o755),
		owned(acitest.Dir(prefix+"tmp"), 0, 0, 0o1777),
		owned(acitest.Dir(prefix+"empty"), 5, 6, 0o2750),
		acitest.File(prefix+"zero", ""),
		acitest.File(prefix+"short", "short\n"),
		acitest.File(prefix+"block", strings.Repeat("b", 4096)),
		acitest.File(prefix+"long", strings.Repeat("0123456789abcdef", 70_001)),
		owned(acitest.File(prefix+"setuid", "su"), 0, 0, 0o4755),
		owned(acitest.File(prefix+"setgid", "sg"), 0, 42, 0o2755),
		owned(acitest.File(prefix+"secret", "s"), 0, 0, 0),
		owned(acitest.File(prefix+"big-owner", "o"), 3_000_000_000, 70_000, 0o600),
		owned(acitest.Dir(prefix+"big-owner.d"), 65_536, 4_294_967_294, 0o700),
		at(acitest.File(prefix+"nanoseconds", "t"), time.Unix(1_600_000_000, 123_456_789)),
		at(acitest.File(prefix+"epoch", "t"), time.Unix(0, 0)),
		at(acitest.File(prefix+"before", "t"), time.Unix(-86_400, 0)),
		at(acitest.File(prefix+"after-2038", "t"), time.Unix(5_000_000_000, 0)),
		attrs(acitest.File(prefix+"ping", "p"), "security.capability", capability),
		attrs(acitest.File(prefix+"attrs", "a"), "user.empty", "", "user.binary", "\x00\xff\n=", "trusted.x", "y",
			"user.long", strings.Repeat("v", 3000)),
		attrs(acitest.Dir(prefix+"attrs.d"), "user.d", "1"),
		acitest.Link(tar.TypeSymlink, prefix+"relative", "short"),
		acitest.Link(tar.TypeSymlink, prefix+"absolute", "/nowhere/at/all"),
		acitest.Link(tar.TypeSymlink, prefix+"far", strings.Repeat("../", 1300)+"x"),
		acitest.Link(tar.TypeLink, prefix+"hard", prefix+"long"),
		acitest.Link(tar.TypeLink, prefix+"tmp/hard", prefix+"setuid"),
		acitest.Link(tar.TypeLink, prefix+"hardsym", prefix+"relative"),
		device(tar.TypeChar, prefix+"null", 1, 3),
		device(tar.TypeBlock, prefix+"disk", 259, 70_000),
		device(tar.TypeFifo, prefix+"fifo", 0, 0),
		acitest.File(prefix+strings.Repeat("n", 255), "long name"),
		acitest.File(prefix+"name with\nnewline \\ and \"quotes\" é", "odd name"),
		acitest.File(prefix+"not UTF-8 \xff\xfe", "odd name"),
		at(acitest.File(prefix+"before-ns", "t"), time.Unix(-1, 999_999_999)),
	)
	deep := filepath.Clean(prefix)
	for range 12 {
		deep += "/" + strings.Repeat("d", 100)
		entries = append(entries, acitest.Dir(deep))
	}
	entries = append(entries, acitest.File(deep+"/deep", "long path"), acitest.Dir(prefix+"many"))
	for i := range 600 { // more than a block of names
		entries = append(entries, acitest.File(filepath.Join(prefix+"many", strings.Repeat(string(rune('a'+i%26)), 1+i/26)), "m"))
	}
	return acitest.Tar(t, entries...)
}

func TestDeterministic(t *testing.T) {
	archive := everything(t)
	first, info := render(t, open(t, archive))
	second, again := render(t, open(t, archive))
	if !reflect.DeepEqual(info, again) {
		t.Errorf("%+v, then %+v", info, again)
	}
	a, b := readAll(t, first), readAll(t, second)
	if !bytes.Equal(a, b) {
		t.Error("the bytes differ")
	}
	if uint64(len(a)) != info.Size {
		t.Errorf("%d bytes, Info says %d", len(a), info.Size)
	}
}

// TestGolden pins the rendering: a change of it makes every image be rendered anew,
// and must be meant.
func TestGolden(t *testing.T) {
	_, info := render(t, open(t, acitest.Tar(t, acitest.Manifest("example.com/hello", ""),
		acitest.Dir("rootfs"), acitest.File("rootfs/hello", "hello\n"))))
	const want = "ebd71ae226a9f0ab1d012ee2fbab401681f6950274736333f13534bd39955de1"
	if info.RootHash.String() != want || info.DataBlocks != 2 {
		t.Errorf("root hash %s of %d blocks", info.RootHash, info.DataBlocks)
	}
}

func TestFsck(t *testing.T) {
	f, info := render(t, open(t, everything(t)))
	fsck(t, f, info)
	f, info = render(t, layered(t, everythingLayered(t)...))
	fsck(t, f, info)
}

// fsck has erofs-utils look at an image and read all of it.
func fsck(t *testing.T, f *os.File, info rootfs.Info) {
	t.Helper()
	program, err := exec.LookPath("fsck.erofs")
	if err != nil {
		t.Skip("no fsck.erofs")
	}
	// Only the file system: the tree behind it is none of fsck's business.
	data := filepath.Join(t.TempDir(), "data.img")
	if err := os.WriteFile(data, readAll(t, f)[:info.HashOffset], 0o600); err != nil {
		t.Fatal(err)
	}
	for _, image := range []string{data, f.Name()} {
		if out, err := exec.Command(program, "--extract", image).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	}
}

// rootOf hashes data with dm-verity's algorithm, written down a second time and in
// another way than the program's (kernel: Documentation/admin-guide/device-mapper/verity.rst).
// It returns the tree, top level first, and its root.
func rootOf(data, salt []byte) (tree, root []byte) {
	level, first := data, true
	for first || len(level) > 4096 {
		var hashes []byte
		for i := 0; i < len(level); i += 4096 {
			sum := sha256.Sum256(append(bytes.Clone(salt), level[i:i+4096]...))
			hashes = append(hashes, sum[:]...)
		}
		if first && len(data) == 4096 {
			return nil, hashes
		}
		if rest := len(hashes) % 4096; rest != 0 {
			hashes = append(hashes, make([]byte, 4096-rest)...)
		}
		tree = append(bytes.Clone(hashes), tree...)
		level, first = hashes, false
	}
	sum := sha256.Sum256(append(bytes.Clone(salt), level...))
	return tree, sum[:]
}

func TestVerityOracle(t *testing.T) {
	archives := map[string][]byte{
		"small": acitest.Tar(t, acitest.Manifest("a", ""), acitest.Dir("rootfs")),
		"one level, full": acitest.Tar(t, acitest.Manifest("a", ""), acitest.Dir("rootfs"),
			acitest.File("rootfs/x", strings.Repeat("x", 126*4096))), // and superblock, inodes
		"two levels, barely": acitest.Tar(t, acitest.Manifest("a", ""), acitest.Dir("rootfs"),
			acitest.File("rootfs/x", strings.Repeat("x", 127*4096))),
		"everything": everything(t),
		"three levels": acitest.Tar(t, acitest.Manifest("a", ""), acitest.Dir("rootfs"),
			acitest.File("rootfs/x", strings.Repeat("x", 128*128*4096))),
	}
	for name, archive := range archives {
		f, info := render(t, open(t, archive))
		all := readAll(t, f)
		tree, root := rootOf(all[:info.HashOffset], info.Salt)
		if !bytes.Equal(root, info.RootHash[:]) {
			t.Errorf("%s: root hash %s, want %x", name, info.RootHash, root)
		}
		if !bytes.Equal(tree, all[info.HashOffset:]) {
			t.Errorf("%s: the tree in the file differs (%d blocks of data)", name, info.DataBlocks)
		}
		if err := rootfs.VerifyTree(f, info); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestVerifyTreeFindsEveryChange(t *testing.T) {
	f, info := render(t, open(t, everything(t)))
	good := readAll(t, f)
	for at := info.HashOffset; at < info.Size; at += 1024 {
		bad := bytes.Clone(good)
		bad[at] ^= 1
		if rootfs.VerifyTree(bytes.NewReader(bad), info) == nil {
			t.Errorf("a change at %d was not found", at)
		}
	}
	if rootfs.VerifyTree(bytes.NewReader(good[:len(good)-1]), info) == nil {
		t.Error("a tree cut short was accepted")
	}
	other := info
	other.RootHash[0] ^= 1
	if rootfs.VerifyTree(bytes.NewReader(good), other) == nil {
		t.Error("another root hash was accepted")
	}
	other = info
	other.Salt = nil
	if rootfs.VerifyTree(bytes.NewReader(good), other) == nil {
		t.Error("another salt was accepted")
	}
}

func TestInfoJSON(t *testing.T) {
	_, info := render(t, open(t, everything(t)))
	data, err := json.Marshal(info)
	if err != nil {
		t.Fatal(err)
	}
	var back rootfs.Info
	if err := json.Unmarshal(data, &back); err != nil || !reflect.DeepEqual(back, info) {
		t.Errorf("%+v, %v; want %+v", back, err, info)
	}
	for _, change := range []func(*rootfs.Info){
		func(i *rootfs.Info) { i.Size++ },
		func(i *rootfs.Info) { i.DataBlocks = 0 },
		func(i *rootfs.Info) { i.DataBlocks = 1 << 63 },
		func(i *rootfs.Info) { i.HashOffset += 4096 },
		func(i *rootfs.Info) { i.RootHash = rootfs.Hash{} },
		func(i *rootfs.Info) { i.Salt = make([]byte, 257) },
	} {
		bad := info
		change(&bad)
		data, err := json.Marshal(bad)
		if err != nil {
			t.Fatal(err)
		}
		if json.Unmarshal(data, &back) == nil {
			t.Errorf("accepted: %s", data)
		}
	}
}

func TestRefuse(t *testing.T) {
	odd := func(change func(*tar.Header)) acitest.Entry {
		e := acitest.File("rootfs/x", "x")
		e.Format = tar.FormatPAX
		change(&e.Header)
		return e
	}
	xattr := func(name, value string) acitest.Entry {
		return odd(func(h *tar.Header) { h.PAXRecords = map[string]string{"SCHILY.xattr." + name: value} })
	}
	for name, e := range map[string]acitest.Entry{
		"uid":             odd(func(h *tar.Header) { h.Uid = 1 << 32 }),
		"uid of nobody":   odd(func(h *tar.Header) { h.Uid = 1<<32 - 1 }), // (uid_t)-1
		"gid":             odd(func(h *tar.Header) { h.Gid = 1 << 40 }),
		"device":          odd(func(h *tar.Header) { h.Typeflag = tar.TypeChar; h.Size = 0; h.Devmajor = 4096 }),
		"xattr namespace": xattr("system.unknown", "x"),
		"xattr nameless":  xattr("user.", "x"),
		"xattr too long":  xattr("user.x", strings.Repeat("x", 65536)),
		"xattr long name": xattr("user."+strings.Repeat("x", 251), "x"),
	} {
		if e.Typeflag == tar.TypeChar {
			e.Data = ""
		}
		img := open(t, acitest.Tar(t, acitest.Manifest("a", ""), acitest.Dir("rootfs"), e))
		f, err := os.Create(filepath.Join(t.TempDir(), "out"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := rootfs.Render(context.Background(), img, image.Limits{}, f); err == nil {
			t.Errorf("%s: accepted", name)
		}
		f.Close()
	}
}

// TestCancel renders under a context that has ended.
func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	img := open(t, everything(t))
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cancel()
	if _, err := rootfs.Render(ctx, img, image.Limits{}, f); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func readAll(t testing.TB, f *os.File) []byte {
	t.Helper()
	data, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<40))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestCompressionDoesNotMatter renders one image from differently packed files.
func TestCompressionDoesNotMatter(t *testing.T) {
	archive := everything(t)
	_, want := render(t, open(t, archive))
	for _, program := range []string{"gzip", "bzip2", "xz"} {
		if _, got := render(t, open(t, acitest.Compress(t, program, archive))); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", program, got, want)
		}
	}
}

// bigTar is a tar of one file of n bytes, which is in no memory: it repeats a block.
type bigTar struct {
	head, tail []byte
	block      []byte
	n          int64
}

func newBigTar(t *testing.T, n int64) *bigTar {
	t.Helper()
	all := acitest.Tar(t, acitest.File("big", ""))
	var head bytes.Buffer
	w := tar.NewWriter(&head)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "big", Mode: 0o644, Size: n}); err != nil {
		t.Fatal(err)
	}
	return &bigTar{head: head.Bytes(), tail: all[len(all)-1024:], block: bytes.Repeat([]byte("0123456789abcdef"), 4096), n: n}
}

func (b *bigTar) size() int64 { return int64(len(b.head)) + b.n + int64(len(b.tail)) }

func (b *bigTar) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		at := off + int64(n) - int64(len(b.head))
		switch {
		case at < 0:
			n += copy(p[n:], b.head[int64(len(b.head))+at:])
		case at < b.n:
			part := b.block[at%int64(len(b.block)):]
			n += copy(p[n:], part[:min(int64(len(part)), b.n-at)])
		case at < b.n+int64(len(b.tail)):
			n += copy(p[n:], b.tail[at-b.n:])
		default:
			return n, io.EOF
		}
	}
	return n, nil
}

// TestMemory renders a file that is larger than all that may be allocated for it.
func TestMemory(t *testing.T) {
	const size = 96 << 20
	big := newBigTar(t, size)
	sum := sha256.Sum256(nil) // nobody looks
	id, err := image.NewDigest(image.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	layer, err := image.NewLayer(id, "", big, big.size())
	if err != nil {
		t.Fatal(err)
	}
	img, err := image.New(image.Meta{Digest: id, Name: "example.com/big"}, []image.Layer{layer}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f, info := render(t, img)
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > size/8 {
		t.Errorf("%d bytes were allocated for a file of %d", allocated, size)
	}
	if info.Size < size {
		t.Errorf("%d bytes", info.Size)
	}
	if err := rootfs.VerifyTree(f, info); err != nil {
		t.Error(err)
	}
}
