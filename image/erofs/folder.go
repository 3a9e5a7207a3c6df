package erofs

import (
	"encoding/binary"
	"maps"
	"slices"
)

// entry is a name in a folder.
type entry struct {
	name  string
	inode *inode
}

// sortedNames are those of a folder, itself and its parent among them, in the order of
// their bytes: the kernel looks them up by bisection.
func (n *Inode) sortedNames() ([]string, error) {
	names := slices.Collect(maps.Keys(n.Children))
	for _, name := range names {
		if err := checkName(name); err != nil {
			return nil, err
		}
	}
	names = append(names, ".", "..")
	slices.Sort(names)
	return names, nil
}

// blocksOf splits a folder's entries into those of each block.
func blocksOf(entries []entry) (blocks [][]entry, lastSize int) {
	first := 0
	for i, e := range entries {
		need := direntSize + len(e.name)
		if lastSize+need > BlockSize {
			blocks = append(blocks, entries[first:i])
			first, lastSize = i, 0
		}
		lastSize += need
	}
	return append(blocks, entries[first:]), lastSize
}

// folderSize is that of the folder's data: every block but the last counts in full.
func folderSize(entries []entry) uint64 {
	blocks, last := blocksOf(entries)
	return uint64(len(blocks)-1)*BlockSize + uint64(last)
}

// folderData encodes the folder's data, n.size bytes.
func (n *inode) folderData() []byte {
	data := make([]byte, 0, n.size)
	blocks, _ := blocksOf(n.entries)
	for i, block := range blocks {
		data = appendFolderBlock(data, block)
		if i < len(blocks)-1 {
			data = append(data, make([]byte, (i+1)*BlockSize-len(data))...)
		}
	}
	return data
}

func appendFolderBlock(b []byte, entries []entry) []byte {
	at := len(entries) * direntSize
	for _, e := range entries {
		b = binary.LittleEndian.AppendUint64(b, e.inode.nid)
		b = binary.LittleEndian.AppendUint16(b, uint16(at))
		b = append(b, e.inode.fileType(), 0)
		at += len(e.name)
	}
	for _, e := range entries {
		b = append(b, e.name...)
	}
	return b
}
