package rootfs

import (
	"context"
	"fmt"
	"os"

	"github.com/containerd/go-dmverity/pkg/verity"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/erofs"
)

// verityFormat is dm-verity's hash type 1: the salt goes before the block.
const verityFormat = 1

// salt is fixed, so that equal images have equal root hashes. It keeps the hashes
// apart from those that other programs make of the same blocks.
const salt = "clearrun root image, verity, v1\n"

// Render writes the image's root filesystem and its hash tree to w, which must be
// empty and open for reading and writing. It neither syncs nor closes w.
//
// Memory grows with the number of files, not with their size; limits bounds both. On error
// the content of w is useless.
func Render(ctx context.Context, img *image.Image, limits image.Limits, w *os.File) (Info, error) {
	limits, err := limits.OrDefault()
	if err != nil {
		return Info{}, err
	}
	t, err := build(ctx, img, limits)
	if err != nil {
		return Info{}, fmt.Errorf("render %s: %w", img.Name(), err)
	}
	blocks, err := erofs.Write(ctx, t.root, w)
	if err != nil {
		return Info{}, fmt.Errorf("render %s: file system: %w", img.Name(), err)
	}
	info, err := appendTree(w, uint64(blocks))
	if err != nil {
		return Info{}, fmt.Errorf("render %s: hash tree: %w", img.Name(), err)
	}
	return info, ctx.Err()
}

// appendTree writes the tree behind the blocks of the file system.
func appendTree(w *os.File, blocks uint64) (Info, error) {
	info := Info{
		DataBlocks: blocks,
		HashOffset: blocks * BlockSize,
		Size:       (blocks + treeBlocks(blocks)) * BlockSize,
		Salt:       []byte(salt),
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
