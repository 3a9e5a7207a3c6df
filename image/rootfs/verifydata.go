package rootfs

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
)

// VerifyData reads all data blocks of f and computes the root hash anew from them. It
// is for readers that cannot check block by block, such as the host's kernel without
// dm-verity; they must see to it that the file does not change afterwards.
func VerifyData(f io.ReaderAt, info Info) error {
	if err := info.Validate(); err != nil {
		return err
	}
	root, err := merkleRoot(f, info.DataBlocks, info.Salt)
	if err != nil {
		return err
	}
	if root != info.RootHash {
		return errors.New("was changed: its content does not have the root hash on record")
	}
	return nil
}

// merkleRoot reads the first blocks of f and gives the root hash of their tree.
func merkleRoot(f io.ReaderAt, blocks uint64, salt []byte) (Hash, error) {
	hashes := make([]byte, blocks*HashSize)
	if err := hashData(f, blocks, salt, hashes); err != nil {
		return Hash{}, err
	}
	for len(hashes) > HashSize {
		hashes = hashLevel(hashes, salt)
	}
	return Hash(hashes), nil
}

// chunkBlocks is what one goroutine reads and hashes at a time, in blocks.
const chunkBlocks = 64

// hashData fills hashes with those of the data blocks, on all CPUs.
func hashData(f io.ReaderAt, blocks uint64, salt, hashes []byte) error {
	chunks := make(chan uint64)
	workers := min(runtime.GOMAXPROCS(0), int(blocks/chunkBlocks)+1)
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			h := newBlockHasher(salt)
			buf := make([]byte, chunkBlocks*BlockSize)
			for first := range chunks {
				n := min(chunkBlocks, blocks-first)
				data := buf[:n*BlockSize]
				if _, err := f.ReadAt(data, int64(first*BlockSize)); err != nil && errs[w] == nil {
					errs[w] = fmt.Errorf("read block at %d: %w", first*BlockSize, err)
				}
				h.all(data, hashes[first*HashSize:])
			}
		})
	}
	for first := uint64(0); first < blocks; first += chunkBlocks {
		chunks <- first
	}
	close(chunks)
	wg.Wait()
	return errors.Join(errs...)
}

// hashLevel gives the hashes of the tree's blocks that hold the given ones.
func hashLevel(hashes, salt []byte) []byte {
	blocks := (len(hashes) + BlockSize - 1) / BlockSize
	padded := append(hashes, make([]byte, blocks*BlockSize-len(hashes))...)
	above := make([]byte, blocks*HashSize)
	newBlockHasher(salt).all(padded, above)
	return above
}

// blockHasher hashes block after block without allocating.
type blockHasher struct{ salted []byte }

func newBlockHasher(salt []byte) blockHasher {
	return blockHasher{append(make([]byte, 0, len(salt)+BlockSize), salt...)}
}

// all writes the hash of each block of data to hashes.
func (b blockHasher) all(data, hashes []byte) {
	for i := 0; i*BlockSize < len(data); i++ {
		sum := sha256.Sum256(append(b.salted, data[i*BlockSize:(i+1)*BlockSize]...))
		copy(hashes[i*HashSize:], sum[:])
	}
}
