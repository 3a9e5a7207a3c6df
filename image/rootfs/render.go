package rootfs

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/containerd/go-dmverity/pkg/verity"
	"github.com/erofs/go-erofs"

	"github.com/clearrun/clearrun/image"
)

// writeBuffer gathers the many small writes of the EROFS writer.
const writeBuffer = 1 << 20

// verityFormat is dm-verity's hash type 1: the salt goes before the block.
const verityFormat = 1

// salt is fixed, so that equal images have equal root hashes. It keeps the hashes
// apart from those that other programs make of the same blocks.
const salt = "clearrun root image, verity, v1\n"

// Render writes the image's root filesystem and its hash tree to w, which must be
// empty and open for reading and writing. It neither syncs nor closes w.
//
// Memory grows with the number of files, not with their size. On error the content
// of w is useless.
func Render(ctx context.Context, img *image.Image, w *os.File) (Info, error) {
	root, err := build(img)
	if err != nil {
		return Info{}, fmt.Errorf("render %s: %w", img.Name(), err)
	}
	if err := writeEROFS(ctx, root, w); err != nil {
		return Info{}, fmt.Errorf("render %s: file system: %w", img.Name(), err)
	}
	info, err := appendTree(w)
	if err != nil {
		return Info{}, fmt.Errorf("render %s: hash tree: %w", img.Name(), err)
	}
	return info, ctx.Err()
}

func writeEROFS(ctx context.Context, root *node, w *os.File) error {
	out := &bufferedSeeker{file: w, buf: bufio.NewWriterSize(w, writeBuffer)}
	// The build time is the epoch: anything else would differ from run to run.
	fsys := erofs.Create(out, erofs.WithBlockSize(BlockSize), erofs.WithBuildTime(0, 0))
	if err := fsys.CopyFrom(treeFS{ctx, root}); err != nil {
		return err
	}
	if err := fsys.Close(); err != nil {
		return err
	}
	return out.buf.Flush()
}

// appendTree rounds the file up to whole blocks and writes the tree behind them.
func appendTree(w *os.File) (Info, error) {
	end, err := w.Seek(0, io.SeekEnd)
	if err != nil {
		return Info{}, err
	}
	blocks := (uint64(end) + BlockSize - 1) / BlockSize
	info := Info{
		DataBlocks: blocks,
		HashOffset: blocks * BlockSize,
		Size:       (blocks + treeBlocks(blocks)) * BlockSize,
		Salt:       []byte(salt),
	}
	if err := w.Truncate(int64(info.HashOffset)); err != nil {
		return Info{}, err
	}
	params := info.params()
	self := fmt.Sprintf("/proc/self/fd/%d", w.Fd()) // the file may have no name
	hash, err := verity.Create(&params, self, self)
	if err != nil {
		return Info{}, err
	}
	if len(hash) != HashSize {
		return Info{}, fmt.Errorf("root hash of %d bytes", len(hash))
	}
	info.RootHash = Hash(hash)
	if stat, err := w.Stat(); err != nil || stat.Size() != int64(info.Size) {
		return Info{}, fmt.Errorf("wrong size after the tree: want %d (%v)", info.Size, err)
	}
	return info, info.Validate()
}

// params describes the tree to the verity library, which has no usable defaults.
func (i Info) params() verity.Params {
	return verity.Params{
		HashName:       "sha256",
		HashType:       verityFormat,
		DataBlockSize:  BlockSize,
		HashBlockSize:  BlockSize,
		DataBlocks:     i.DataBlocks,
		HashAreaOffset: i.HashOffset,
		Salt:           i.Salt,
		SaltSize:       uint16(len(i.Salt)),
		NoSuperblock:   true,
	}
}

// bufferedSeeker is a buffered file that may go back: the EROFS writer writes the
// superblock last.
type bufferedSeeker struct {
	file *os.File
	buf  *bufio.Writer
}

func (b *bufferedSeeker) Write(p []byte) (int, error) { return b.buf.Write(p) }

func (b *bufferedSeeker) Seek(offset int64, whence int) (int64, error) {
	if err := b.buf.Flush(); err != nil {
		return 0, err
	}
	return b.file.Seek(offset, whence)
}
