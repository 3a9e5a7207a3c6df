package rootfs

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// Geometry of the rendered file, fixed for every image.
const (
	BlockSize = 4096 // of EROFS, and of dm-verity's data and hash blocks
	HashSize  = 32   // sha256
)

// Hash is a sha256 of dm-verity, hex in JSON.
type Hash [HashSize]byte

func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText writes lower-case hex.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads exactly 64 hex digits.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != 2*HashSize {
		return fmt.Errorf("hash: %d hex digits, want %d", len(text), 2*HashSize)
	}
	_, err := hex.Decode(h[:], text)
	return err
}

// Info locates the parts of a rendered file and names its content. It is all that
// a verifier needs besides the file.
type Info struct {
	Size       uint64 // of the whole file, bytes
	DataBlocks uint64 // EROFS blocks, from offset 0
	HashOffset uint64 // of the hash tree, bytes; DataBlocks * BlockSize
	RootHash   Hash   // dm-verity root, sha256, format 1
	Salt       []byte // of every block's hash
}

// infoJSON is Info on disk.
type infoJSON struct {
	Size       uint64 `json:"size"`
	DataBlocks uint64 `json:"dataBlocks"`
	HashOffset uint64 `json:"hashOffset"`
	RootHash   Hash   `json:"rootHash"`
	Salt       string `json:"salt"`
}

// MarshalJSON writes the hash and the salt in hex.
func (i Info) MarshalJSON() ([]byte, error) {
	return json.Marshal(infoJSON{i.Size, i.DataBlocks, i.HashOffset, i.RootHash, hex.EncodeToString(i.Salt)})
}

// UnmarshalJSON refuses an Info that Validate refuses.
func (i *Info) UnmarshalJSON(data []byte) error {
	var j infoJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	salt, err := hex.DecodeString(j.Salt)
	if err != nil {
		return fmt.Errorf("salt: %w", err)
	}
	parsed := Info{j.Size, j.DataBlocks, j.HashOffset, j.RootHash, salt}
	if err := parsed.Validate(); err != nil {
		return err
	}
	*i = parsed
	return nil
}

// Bounds of an Info: EROFS counts blocks in 32 bits, dm-verity's salt has at most
// 256 bytes (Documentation/admin-guide/device-mapper/verity.rst).
const (
	dataBlocksMax = 1 << 32
	saltMax       = 256
)

// Validate reports whether the numbers fit together.
func (i Info) Validate() error {
	switch {
	case i.DataBlocks == 0 || i.DataBlocks > dataBlocksMax:
		return fmt.Errorf("root image: %d data blocks", i.DataBlocks)
	case i.HashOffset != i.DataBlocks*BlockSize:
		return fmt.Errorf("root image: hash tree at %d, want %d", i.HashOffset, i.DataBlocks*BlockSize)
	case i.Size != i.HashOffset+treeBlocks(i.DataBlocks)*BlockSize:
		return fmt.Errorf("root image: size %d does not fit %d data blocks", i.Size, i.DataBlocks)
	case len(i.Salt) > saltMax:
		return fmt.Errorf("root image: salt of %d bytes", len(i.Salt))
	case i.RootHash == Hash{}:
		return errors.New("root image: no root hash")
	}
	return nil
}

// hashesPerBlock is how many hashes one block of the tree holds.
const hashesPerBlock = BlockSize / HashSize

// treeLevels returns the number of blocks per level of the tree, the level above
// the data first. One data block needs no tree: its hash is the root.
func treeLevels(dataBlocks uint64) []uint64 {
	var levels []uint64
	for n := dataBlocks; n > 1; {
		n = (n + hashesPerBlock - 1) / hashesPerBlock
		levels = append(levels, n)
	}
	return levels
}

// treeBlocks returns the number of blocks of the whole tree.
func treeBlocks(dataBlocks uint64) uint64 {
	var sum uint64
	for _, n := range treeLevels(dataBlocks) {
		sum += n
	}
	return sum
}
