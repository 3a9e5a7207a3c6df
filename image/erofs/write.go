package erofs

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"golang.org/x/sys/unix"
)

// File is what an image is written to: empty, and at its start.
type File interface {
	io.Writer
	io.WriterAt
}

// Write writes the file system below root to w and returns its size in blocks. Memory
// grows with the number of files, not with their size. On error the content of w is
// useless.
func Write(ctx context.Context, root *Inode, w File) (blocks uint32, err error) {
	p, err := newPlan(root)
	if err != nil {
		return 0, fmt.Errorf("erofs: %w", err)
	}
	out := &writer{ctx: ctx, out: bufio.NewWriterSize(w, writeBuffer)}
	blocks, meta, err := p.write(out)
	if err != nil {
		return 0, fmt.Errorf("erofs: %w", err)
	}
	if _, err := w.WriteAt(p.superblock(blocks, meta), 0); err != nil {
		return 0, fmt.Errorf("erofs: %w", err)
	}
	return blocks, nil
}

// write writes all but the superblock, for which it leaves room.
func (p *plan) write(out *writer) (blocks, meta uint32, err error) {
	if err := out.zeros(BlockSize); err != nil {
		return 0, 0, err
	}
	for _, n := range p.inodes {
		if !n.IsDir() {
			if err := out.data(n); err != nil {
				return 0, 0, err
			}
			p.chunked = p.chunked || n.layout == chunkBased
		}
	}
	folders, err := p.placeFolders(out)
	if err != nil {
		return 0, 0, err
	}
	p.place()
	for _, n := range folders {
		if err := out.whole(n, n.folderData()); err != nil {
			return 0, 0, err
		}
	}
	meta, err = out.block()
	if err == nil {
		err = p.writeInodes(out)
	}
	if err != nil {
		return 0, 0, err
	}
	blocks, err = out.block()
	return blocks, meta, errors.Join(err, out.out.Flush())
}

// placeFolders gives each folder's data its blocks, behind those of files.
func (p *plan) placeFolders(out *writer) (folders []*inode, err error) {
	next, err := out.block()
	if err != nil {
		return nil, err
	}
	for _, n := range p.inodes {
		if !n.IsDir() {
			continue
		}
		n.setFlat()
		n.start = next
		if uint64(next)+n.blocks() > math.MaxUint32 {
			return nil, errTooLarge
		}
		next += uint32(n.blocks())
		folders = append(folders, n)
	}
	return folders, nil
}

// writeInodes writes the inodes in the order in which they stand.
func (p *plan) writeInodes(out *writer) error {
	start := out.at
	var buf []byte
	ordered := slices.SortedFunc(slices.Values(p.inodes), func(a, b *inode) int { return cmp.Compare(a.nid, b.nid) })
	for i, n := range ordered {
		gap := start + int64(n.nid)<<slotBits - out.at
		if err := out.zeros(gap); err != nil {
			return err
		}
		buf = n.appendInode(buf[:0], uint32(i+1))
		var err error
		switch n.layout {
		case flatInline:
			buf, err = n.appendTail(buf)
		case chunkBased:
			buf = n.appendChunks(buf)
		}
		if err == nil {
			err = out.write(buf)
		}
		if err != nil {
			return err
		}
	}
	return out.pad()
}

// appendTail appends what stands behind the inode of the inode's data.
func (n *inode) appendTail(b []byte) ([]byte, error) {
	whole := int(n.size) - n.tail()
	switch n.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return append(b, n.folderData()[whole:]...), nil
	case unix.S_IFLNK:
		return append(b, n.Target[whole:]...), nil
	}
	tail := make([]byte, n.tail())
	source, _ := n.Data.(io.ReaderAt) // inlines has asked for one
	if got, err := source.ReadAt(tail, int64(whole)); got < len(tail) {
		return nil, fmt.Errorf("read a file's last bytes: %w", err)
	}
	return append(b, tail...), nil
}

func (n *inode) appendChunks(b []byte) []byte {
	blocks := uint32(1) << (chunkBits(n.size) - blockBits)
	for _, r := range n.chunks {
		for i := range r.count {
			at := r.start
			if at != hole {
				at += i * blocks
			}
			b = binary.LittleEndian.AppendUint32(b, at)
		}
	}
	return b
}

// writeBuffer gathers small writes.
const writeBuffer = 1 << 20

var errTooLarge = errors.New("the image is larger than 16 TiB")

// writer appends to the image.
type writer struct {
	ctx   context.Context
	out   *bufio.Writer
	at    int64
	chunk []byte
}

// block gives the number of the block that is written next.
func (w *writer) block() (uint32, error) {
	n := w.at / BlockSize
	if n >= math.MaxUint32 {
		return 0, errTooLarge
	}
	return uint32(n), nil
}

func (w *writer) write(p []byte) error {
	n, err := w.out.Write(p)
	w.at += int64(n)
	return err
}

var zeroBlock [BlockSize]byte

func (w *writer) zeros(n int64) error {
	for ; n > 0; n -= BlockSize {
		if err := w.write(zeroBlock[:min(n, BlockSize)]); err != nil {
			return err
		}
	}
	return nil
}

// pad fills up the block.
func (w *writer) pad() error {
	return w.zeros((BlockSize - w.at%BlockSize) % BlockSize)
}

// data writes the data of a file or symlink and sets the layout.
func (w *writer) data(n *inode) error {
	n.setFlat()
	var err error
	if n.start, err = w.block(); err != nil {
		return err
	}
	switch {
	case n.Target != "":
		return w.whole(n, []byte(n.Target))
	case n.Data == nil || n.layout == flatInline && n.size < BlockSize:
		return nil
	}
	return w.file(n)
}

// whole writes data that is in memory, but for what will stand behind the inode.
func (w *writer) whole(n *inode, data []byte) error {
	if n.layout == flatInline {
		data = data[:len(data)-n.tail()]
	}
	return errors.Join(w.write(data), w.pad())
}

// file copies a file chunk by chunk and leaves out those that are zeros.
func (w *writer) file(n *inode) error {
	r, err := n.Data.Open()
	if err != nil {
		return err
	}
	size := uint64(1) << chunkBits(n.size)
	if uint64(len(w.chunk)) < size {
		w.chunk = make([]byte, size)
	}
	for left := n.size; left > 0; {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		chunk := w.chunk[:min(left, size)]
		if _, err := io.ReadFull(r, chunk); err != nil {
			return fmt.Errorf("read a file's data: %w", err)
		}
		left -= uint64(len(chunk))
		if err := w.fileChunk(n, chunk, left == 0); err != nil {
			return err
		}
	}
	return nil
}

// fileChunk writes one chunk. As long as there is no hole, the inode stays flat.
func (w *writer) fileChunk(n *inode, chunk []byte, last bool) error {
	if isZero(chunk) && (!last || n.layout == chunkBased) {
		n.layout = chunkBased
		n.addChunk(hole)
		return nil
	}
	start, err := w.block()
	if err != nil {
		return err
	}
	n.addChunk(start)
	if last && n.layout == flatInline {
		chunk = chunk[:len(chunk)-n.tail()]
	}
	return errors.Join(w.write(chunk), w.pad())
}

func (n *inode) addChunk(start uint32) {
	blocks := uint32(1) << (chunkBits(n.size) - blockBits)
	if i := len(n.chunks) - 1; i >= 0 {
		last := &n.chunks[i]
		if last.start == hole && start == hole || last.start != hole && start == last.start+last.count*blocks {
			last.count++
			return
		}
	}
	n.chunks = append(n.chunks, run{start, 1})
}

func isZero(b []byte) bool {
	return b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1])
}
