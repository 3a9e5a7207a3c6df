package block

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
)

// Verity names a dm-verity hash tree: version 1, sha256, blocks of 4096 bytes
// for data and hashes, no superblock.
type Verity struct {
	RootHash   [sha256.Size]byte
	Salt       []byte // up to 256 bytes
	DataBlocks uint64 // from the start of the backing
	HashOffset uint64 // of the tree in the backing, in bytes, behind the data
}

// CorruptError says that a data block, or a block of the hash tree on its way
// to the root, is not the one that was signed.
type CorruptError struct {
	Level int    // of the hash tree, 0 next to the data; -1: the data itself
	Index uint64 // of the block within its level
	Err   error  // set if it could not even be read, because the file is short
}

func (e *CorruptError) Error() string {
	what := fmt.Sprintf("data block %d", e.Index)
	if e.Level != dataLevel {
		what = fmt.Sprintf("hash block %d of level %d", e.Index, e.Level)
	}
	if e.Err != nil {
		return fmt.Sprintf("verity: %s is missing: %v", what, e.Err)
	}
	return fmt.Sprintf("verity: %s does not match its digest", what)
}

func (e *CorruptError) Unwrap() error { return e.Err }

const (
	sectorShift = 9
	blockShift  = 12
	blockSize   = 1 << blockShift

	// digestsPerBlock is the fan-out of the tree.
	digestsPerBlock = blockSize / sha256.Size
	saltMax         = 256 // dm-verity's limit
	dataLevel       = -1

	// cacheSlots bounds the verified hash blocks kept, 4 KiB each. One block
	// of level 0 covers 512 KiB of data.
	cacheSlots = 128
)

// tree reads and verifies blocks. One goroutine uses it at a time.
type tree struct {
	backing io.ReaderAt
	root    [sha256.Size]byte
	salt    []byte
	offset  uint64
	starts  []uint64 // by level: its first block, counted from offset

	// cache is direct mapped: neighbours in a level do not evict each other.
	cache  [cacheSlots]cacheSlot
	digest hash.Hash
	sum    []byte
}

// cacheSlot holds one hash block that matched its digest.
type cacheSlot struct {
	block    []byte // nil until the slot is first used
	position uint64 // counted from the tree's start
	verified bool
}

func newTree(backing io.ReaderAt, v *Verity) (*tree, error) {
	if v.DataBlocks == 0 || v.DataBlocks > math.MaxInt64/blockSize/2 {
		return nil, fmt.Errorf("verity: %d data blocks", v.DataBlocks)
	}
	if len(v.Salt) > saltMax {
		return nil, fmt.Errorf("verity: salt of %d bytes is longer than %d", len(v.Salt), saltMax)
	}
	if v.HashOffset%blockSize != 0 || v.HashOffset < v.DataBlocks*blockSize || v.HashOffset > math.MaxInt64/2 {
		return nil, fmt.Errorf("verity: hash tree at %d is not a block behind the %d data blocks", v.HashOffset, v.DataBlocks)
	}
	return &tree{
		backing: backing,
		root:    v.RootHash,
		salt:    bytes.Clone(v.Salt),
		offset:  v.HashOffset,
		starts:  levelStarts(v.DataBlocks),
		digest:  sha256.New(),
		sum:     make([]byte, 0, sha256.Size),
	}, nil
}

// levelStarts gives where each level of the tree begins, in blocks. On disk
// the level next to the root comes first. A single data block has no tree:
// its digest is the root hash.
func levelStarts(dataBlocks uint64) []uint64 {
	var sizes []uint64
	for n := dataBlocks; n > 1; {
		n = (n + digestsPerBlock - 1) / digestsPerBlock
		sizes = append(sizes, n)
	}
	starts := make([]uint64, len(sizes))
	var next uint64
	for level := len(sizes) - 1; level >= 0; level-- {
		starts[level] = next
		next += sizes[level]
	}
	return starts
}

// verify checks a data block's content. The error is a *CorruptError, or that
// of reading the tree.
func (t *tree) verify(index uint64, content []byte) error {
	want, err := t.expected(dataLevel, index)
	if err != nil {
		return err
	}
	if !t.matches(content, want) {
		return &CorruptError{Level: dataLevel, Index: index}
	}
	return nil
}

// expected gives the digest that a block must have: the root hash at the top,
// elsewhere what the verified block above it says. It recurses once per level,
// of which there are at most nine.
func (t *tree) expected(level int, index uint64) ([sha256.Size]byte, error) {
	if level == len(t.starts)-1 {
		return t.root, nil
	}
	parent, err := t.hashBlock(level+1, index/digestsPerBlock)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	at := index % digestsPerBlock * sha256.Size
	return [sha256.Size]byte(parent[at : at+sha256.Size]), nil
}

// hashBlock gives a verified block of the tree, valid until the next call.
func (t *tree) hashBlock(level int, index uint64) ([]byte, error) {
	position := t.starts[level] + index
	slot := &t.cache[position%cacheSlots]
	if slot.verified && slot.position == position {
		return slot.block, nil
	}
	// Before the slot is filled, since this may pass through the same one.
	want, err := t.expected(level, index)
	if err != nil {
		return nil, err
	}
	if slot.block == nil {
		slot.block = make([]byte, blockSize)
	}
	slot.position, slot.verified = position, false
	if err := readFull(t.backing, slot.block, t.offset+position*blockSize); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, &CorruptError{Level: level, Index: index, Err: err}
		}
		return nil, fmt.Errorf("verity: read hash block %d of level %d: %w", index, level, err)
	}
	if !t.matches(slot.block, want) {
		return nil, &CorruptError{Level: level, Index: index}
	}
	slot.verified = true
	return slot.block, nil
}

// matches says whether sha256(salt || content) is want.
func (t *tree) matches(content []byte, want [sha256.Size]byte) bool {
	t.digest.Reset()
	t.digest.Write(t.salt)
	t.digest.Write(content)
	t.sum = t.digest.Sum(t.sum[:0])
	return bytes.Equal(t.sum, want[:])
}
