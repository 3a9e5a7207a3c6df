package rootfs

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"

	"golang.org/x/sys/unix"
)

// Offsets in struct fsverity_descriptor (Documentation/filesystems/fsverity.rst, fs-verity
// descriptor), whose hash names a file:
//
//	__u8 version, hash_algorithm, log_blocksize, salt_size; __le32 reserved;
//	__le64 data_size; __u8 root_hash[64], salt[32], reserved[144];
const (
	descriptorAlgorithm = 1
	descriptorBlockSize = 2
	descriptorDataSize  = 8
	descriptorRootHash  = 16
	descriptorLen       = 256
)

// FSVerityDigest reads the size bytes of f, whole blocks of them, and computes its
// digest as fs-verity does: sha256, blocks of 4096 bytes, no salt. It asks the kernel nothing.
func FSVerityDigest(f io.ReaderAt, size uint64) (Hash, error) {
	if size == 0 || size%BlockSize != 0 {
		return Hash{}, fmt.Errorf("fs-verity digest: %d bytes are not whole blocks", size)
	}
	root, err := merkleRoot(f, size/BlockSize, nil)
	if err != nil {
		return Hash{}, fmt.Errorf("fs-verity digest: %w", err)
	}
	var d [descriptorLen]byte
	d[0] = 1
	d[descriptorAlgorithm] = unix.FS_VERITY_HASH_ALG_SHA256
	d[descriptorBlockSize] = byte(bits.TrailingZeros(BlockSize))
	binary.LittleEndian.PutUint64(d[descriptorDataSize:], size)
	copy(d[descriptorRootHash:], root[:])
	return sha256.Sum256(d[:]), nil
}

// EnableFSVerity makes a file, which nobody may have open for writing, one whose content never
// changes again and is checked by the kernel as it is read. It can still be deleted. Most file
// systems cannot do that.
func EnableFSVerity(f *os.File) error {
	err := enableVerity(f, &unix.FsverityEnableArg{
		Version: 1, Hash_algorithm: unix.FS_VERITY_HASH_ALG_SHA256, Block_size: BlockSize,
	})
	if err != nil {
		return fmt.Errorf("enable fs-verity: %w", err)
	}
	return nil
}

// ErrNoFSVerity says that the kernel does not check a file.
var ErrNoFSVerity = errors.New("the file has no fs-verity")

// MeasureFSVerity asks the kernel for the digest that it holds the file's content against.
func MeasureFSVerity(f *os.File) (Hash, error) {
	var answer verityDigest
	answer.Size = HashSize
	err := measureVerity(f, &answer)
	switch {
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.ENOTTY), errors.Is(err, unix.EOPNOTSUPP):
		return Hash{}, ErrNoFSVerity
	case err != nil:
		return Hash{}, fmt.Errorf("measure fs-verity: %w", err)
	case answer.Algorithm != unix.FS_VERITY_HASH_ALG_SHA256 || answer.Size != HashSize:
		return Hash{}, fmt.Errorf("measure fs-verity: algorithm %d, %d bytes", answer.Algorithm, answer.Size)
	}
	return answer.digest, nil
}

// verityDigest is struct fsverity_digest with room for a sha256.
type verityDigest struct {
	unix.FsverityDigest
	digest Hash
}
