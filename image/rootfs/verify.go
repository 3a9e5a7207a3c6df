package rootfs

import (
	"crypto/sha256"
	"fmt"
	"io"
)

// VerifyTree checks the whole hash tree in f against info.RootHash. It reads the
// tree (1/128 of the file) and not the data: that is checked block by block
// against the tree when it is used, by whoever reads it.
func VerifyTree(f io.ReaderAt, info Info) error {
	if err := info.Validate(); err != nil {
		return err
	}
	levels := treeLevels(info.DataBlocks)
	if len(levels) == 0 { // the one data block hangs on the root hash itself
		return verifyBlocks(f, info, 0, []Hash{info.RootHash})
	}
	// The top level comes first in the file; each level holds the hashes of the next.
	at, parents := info.HashOffset, []Hash{info.RootHash}
	for i := len(levels) - 1; i >= 0; i-- {
		var below []Hash
		if i > 0 {
			below = make([]Hash, 0, levels[i-1])
		}
		for n := range levels[i] {
			block, err := readBlock(f, at+n*BlockSize)
			if err != nil {
				return err
			}
			if info.hash(block) != parents[n] {
				return fmt.Errorf("hash tree block at %d was changed", at+n*BlockSize)
			}
			for c := 0; c < BlockSize && len(below) < cap(below); c += HashSize {
				below = append(below, Hash(block[c:c+HashSize]))
			}
		}
		at += levels[i] * BlockSize
		parents = below
	}
	return nil
}

// verifyBlocks checks consecutive blocks from offset at.
func verifyBlocks(f io.ReaderAt, info Info, at uint64, want []Hash) error {
	for n := range want {
		block, err := readBlock(f, at+uint64(n)*BlockSize)
		if err != nil {
			return err
		}
		if info.hash(block) != want[n] {
			return fmt.Errorf("block at %d was changed", at+uint64(n)*BlockSize)
		}
	}
	return nil
}

func readBlock(f io.ReaderAt, at uint64) ([]byte, error) {
	block := make([]byte, BlockSize)
	if _, err := f.ReadAt(block, int64(at)); err != nil {
		return nil, fmt.Errorf("read block at %d: %w", at, err)
	}
	return block, nil
}

// hash is dm-verity's, format 1.
func (i Info) hash(block []byte) Hash {
	h := sha256.New()
	h.Write(i.Salt)
	h.Write(block)
	return Hash(h.Sum(nil))
}
