package rootfs

import (
	"context"
	"fmt"
	"io"
)

// Reader reads the file system of a rendered image. Every block is held against the hash
// tree, up to the root hash, before any of it is given out. It is for one goroutine.
type Reader struct {
	file   io.ReaderAt
	info   Info
	starts []uint64 // by level, the one above the data first: offset of its first block
	hashes map[uint64][]byte
	block  []byte
	held   uint64 // number of what is in block, plus one; 0: nothing that was verified
}

// cachedBlocks bounds the hash blocks that a Reader remembers: 8 MiB, which 1 GiB of
// data hangs on.
const cachedBlocks = 2048

// NewReader makes a Reader. f is the rendered file, info what is believed of it.
func NewReader(f io.ReaderAt, info Info) (*Reader, error) {
	if err := info.Validate(); err != nil {
		return nil, err
	}
	levels := treeLevels(info.DataBlocks)
	r := &Reader{file: f, info: info, starts: make([]uint64, len(levels)), hashes: make(map[uint64][]byte), block: make([]byte, BlockSize)}
	at := info.HashOffset
	for i := len(levels) - 1; i >= 0; i-- { // the top level comes first in the file
		r.starts[i] = at
		at += levels[i] * BlockSize
	}
	return r, nil
}

// Size is that of the file system in bytes.
func (r *Reader) Size() int64 { return int64(r.info.HashOffset) }

// ReadAt reads verified data.
func (r *Reader) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("read at %d", off)
	}
	for n < len(p) {
		at := uint64(off) + uint64(n)
		if at >= r.info.HashOffset {
			return n, io.EOF
		}
		if err := r.readBlock(at / BlockSize); err != nil {
			return n, err
		}
		n += copy(p[n:], r.block[at%BlockSize:])
	}
	return n, nil
}

// readBlock leaves a verified data block in r.block.
func (r *Reader) readBlock(n uint64) error {
	if r.held == n+1 {
		return nil
	}
	r.held = 0
	if _, err := r.file.ReadAt(r.block, int64(n*BlockSize)); err != nil {
		return fmt.Errorf("read block %d: %w", n, err)
	}
	want, err := r.expected(0, n)
	if err != nil {
		return err
	}
	if r.info.hash(r.block) != want {
		return fmt.Errorf("block %d of the file system was changed", n)
	}
	r.held = n + 1
	return nil
}

// expected gives the hash of block n of what lies under a level: the data under level 0.
func (r *Reader) expected(level int, n uint64) (Hash, error) {
	if level == len(r.starts) {
		return r.info.RootHash, nil
	}
	block, err := r.hashBlock(level, n/hashesPerBlock)
	if err != nil {
		return Hash{}, err
	}
	return Hash(block[n%hashesPerBlock*HashSize:][:HashSize]), nil
}

// hashBlock gives a verified block of a level.
func (r *Reader) hashBlock(level int, n uint64) ([]byte, error) {
	at := r.starts[level] + n*BlockSize
	if block := r.hashes[at]; block != nil {
		return block, nil
	}
	block, err := readBlock(r.file, at)
	if err != nil {
		return nil, err
	}
	want, err := r.expected(level+1, n)
	if err != nil {
		return nil, err
	}
	if r.info.hash(block) != want {
		return nil, fmt.Errorf("hash tree block at %d was changed", at)
	}
	if len(r.hashes) >= cachedBlocks {
		clear(r.hashes)
	}
	r.hashes[at] = block
	return block, nil
}

// Verify hashes the whole file, data and tree, and calls bad for each block of data or
// hashes that is not what it was. It returns the error of ctx.
func Verify(ctx context.Context, f io.ReaderAt, info Info, bad func(err error)) error {
	r, err := NewReader(f, info)
	if err != nil {
		bad(err)
		return nil
	}
	if err := VerifyTree(f, info); err != nil {
		bad(err)
	}
	for n := range info.DataBlocks {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.readBlock(n); err != nil {
			bad(err)
		}
	}
	return nil
}
