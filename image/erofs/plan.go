package erofs

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"

	"golang.org/x/sys/unix"
)

// inode is an Inode with its place in the image.
type inode struct {
	*Inode
	entries []entry // folders: sorted
	links   uint32
	size    uint64
	layout  layout
	start   uint32 // first block of the data
	chunks  []run  // chunkBased
	nid     uint64 // where it stands, in slots
}

// run is a number of chunks that follow each other, or are holes.
type run struct {
	start uint32 // first block, or hole
	count uint32 // of chunks
}

// plan is an image in the making.
type plan struct {
	inodes  []*inode // the root first, each folder before what is in it
	chunked bool     // some file has holes
}

// inodesMax is what fits i_ino.
const inodesMax = math.MaxUint32

// newPlan takes in the tree below root.
func newPlan(root *Inode) (*plan, error) {
	if !root.IsDir() {
		return nil, errors.New("the root is not a folder")
	}
	p := &plan{}
	w := walker{plan: p, seen: make(map[*Inode]*inode)}
	_, err := w.add(root, nil)
	return p, err
}

// walker finds each inode once, whatever its number of names.
type walker struct {
	plan *plan
	seen map[*Inode]*inode
}

// add takes in n, which stands in the folder parent.
func (w *walker) add(n *Inode, parent *inode) (*inode, error) {
	if known := w.seen[n]; known != nil {
		if n.IsDir() {
			return nil, errors.New("a folder has one name only")
		}
		known.links++
		return known, nil
	}
	if err := n.check(); err != nil {
		return nil, err
	}
	if len(w.plan.inodes) == inodesMax {
		return nil, fmt.Errorf("more than %d files", uint32(inodesMax))
	}
	made := &inode{Inode: n, links: 1}
	w.plan.inodes = append(w.plan.inodes, made)
	w.seen[n] = made
	switch n.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return made, w.addFolder(made, parent)
	case unix.S_IFLNK:
		made.size = uint64(len(n.Target))
	case unix.S_IFREG:
		if n.Data != nil {
			made.size = uint64(n.Data.Size())
		}
	}
	return made, nil
}

// addFolder takes in what is in the folder. It counts links as Unix does: a folder's own
// entry, its dot, and the dot-dot of every folder in it.
func (w *walker) addFolder(made, parent *inode) error {
	if parent == nil {
		parent = made // the root is its own
	}
	made.links = 2
	names, err := made.sortedNames()
	if err != nil {
		return err
	}
	made.entries = make([]entry, 0, len(names))
	for _, name := range names {
		child := made
		switch name {
		case ".":
		case "..":
			child = parent
		default:
			if child, err = w.add(made.Children[name], made); err != nil {
				return fmt.Errorf("%.80q: %w", name, err)
			}
			if child.IsDir() {
				made.links++
			}
		}
		made.entries = append(made.entries, entry{name, child})
	}
	made.size = folderSize(made.entries)
	return nil
}

// tail is how many bytes of the data stand behind the inode under flatInline.
func (n *inode) tail() int { return int(n.size % BlockSize) }

// inlines tells whether the tail may stand behind the inode: all of it must be in one
// block, and the data be there to read at random.
func (n *inode) inlines() bool {
	if n.Data != nil {
		if _, ok := n.Data.(io.ReaderAt); !ok {
			return false
		}
	}
	return n.tail() > 0 && inodeSize+n.Xattrs.size()+n.tail() <= BlockSize
}

// setFlat chooses the layout of data without holes.
func (n *inode) setFlat() {
	n.layout = flatPlain
	if n.inlines() {
		n.layout = flatInline
	}
}

// blocks is how many blocks a flat inode's data takes.
func (n *inode) blocks() uint64 {
	if n.layout == flatInline {
		return n.size / BlockSize
	}
	return (n.size + BlockSize - 1) / BlockSize
}

// footprint is the size of the inode with all that stands behind it.
func (n *inode) footprint() int {
	size := inodeSize + n.Xattrs.size()
	switch n.layout {
	case flatInline:
		size += n.tail()
	case chunkBased:
		size += int(chunkCount(n.size)) * chunkEntrySize
	}
	return size
}

// Holes are kept in chunks of at least 64 KiB: a smaller one costs more to look up
// than it saves. Big files have bigger chunks, so that a table has a bounded size.
const (
	chunkBitsMin  = 16
	chunksMaxBits = 18
)

// chunkBits is the power of two of the size of a file's chunks in bytes.
func chunkBits(size uint64) int {
	return max(chunkBitsMin, bits.Len64(size)-chunksMaxBits)
}

func chunkCount(size uint64) uint64 {
	chunk := uint64(1) << chunkBits(size)
	return (size + chunk - 1) / chunk
}

// metaReserved keeps the root from the inode number 0, which some programs take for none.
const metaReserved = inodeSize

// gapsMax is how many blocks that are not full are remembered.
const gapsMax = 8

// gap is the free end of a block.
type gap struct {
	at, size int
}

// place gives every inode its number. One that fits a block stands in one, the others
// begin a block. What is left of a block is offered to those that follow.
func (p *plan) place() {
	gaps := []gap{{metaReserved, BlockSize - metaReserved}}
	end := BlockSize
	for _, n := range p.inodes {
		need := roundUp(n.footprint(), slotSize)
		at := -1
		for i := range gaps {
			if gaps[i].size >= need {
				at = gaps[i].at
				gaps[i].at += need
				gaps[i].size -= need
				break
			}
		}
		if at < 0 {
			at = end
			end = roundUp(at+need, BlockSize)
			gaps = remember(gaps, gap{at + need, end - at - need})
		}
		n.nid = uint64(at) >> slotBits
	}
}

// remember adds a gap, in place of the smallest if there are many.
func remember(gaps []gap, g gap) []gap {
	if len(gaps) < gapsMax {
		return append(gaps, g)
	}
	least := 0
	for i := range gaps {
		if gaps[i].size < gaps[least].size {
			least = i
		}
	}
	if gaps[least].size < g.size {
		gaps[least] = g
	}
	return gaps
}

func roundUp(n, unit int) int { return (n + unit - 1) / unit * unit }
