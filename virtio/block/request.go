package block

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/clearrun/clearrun/virtio"
)

var errNoHeader = errors.New("block: request lacks header or status byte")

// serve performs one request. Only one that has no place for a status is an
// error.
func (d *Device) serve(c *virtio.DescriptorChain) error {
	if c.Readable() < headerSize || c.Writable() < statusSize {
		return errNoHeader
	}
	if _, err := io.ReadFull(&c.Reader, d.header[:]); err != nil {
		return err
	}
	status := d.perform(c)
	// The status is the last byte, whatever was written before it (5.2.6).
	c.Writer.Skip(c.Writable() - statusSize)
	_, err := c.Writer.Write([]byte{status})
	return err
}

// perform writes the request's data, if any, and gives its status.
func (d *Device) perform(c *virtio.DescriptorChain) byte {
	room := uint64(c.Writable() - statusSize)
	switch binary.LittleEndian.Uint32(d.header[headerType:]) {
	case requestIn:
		return d.performRead(&c.Writer, binary.LittleEndian.Uint64(d.header[headerSector:]), room)
	case requestOut:
		return statusIOErr // 5.2.6.2: read-only
	case requestFlush:
		return statusOK // nothing is ever dirty
	case requestGetID:
		if room < idSize {
			return statusIOErr
		}
		_, _ = c.Writer.Write(d.id[:]) // fits, as just checked
		return statusOK
	}
	return statusUnsup
}

// performRead copies n bytes from sector on, verified, to the guest.
func (d *Device) performRead(w *virtio.Writer, sector, n uint64) byte {
	sectors := d.size / sectorSize
	if n%sectorSize != 0 || n > requestMax || sector > sectors || n/sectorSize > sectors-sector {
		return statusIOErr
	}
	for offset := sector * sectorSize; n > 0; {
		p, err := d.read(offset, n)
		if err != nil {
			return statusIOErr
		}
		if _, err := w.Write(p); err != nil {
			return statusIOErr
		}
		offset += uint64(len(p))
		n -= uint64(len(p))
	}
	return statusOK
}

// read gives up to n bytes at offset in the private buffer, verified.
// Preconditions: offset and n are within the disk, n is not 0.
func (d *Device) read(offset, n uint64) ([]byte, error) {
	if d.tree == nil {
		p := d.buffer[:min(n, bufferSize)]
		return p, readFull(d.backing, p, offset)
	}
	// Whole blocks only: a digest covers no less.
	first := offset / blockSize
	end := min((offset+n+blockSize-1)/blockSize, first+bufferSize/blockSize)
	p := d.buffer[:(end-first)*blockSize]
	if err := d.readBlocks(p, first); err != nil {
		return nil, err
	}
	skip := offset - first*blockSize
	return p[skip:min(skip+n, uint64(len(p)))], nil
}

// readBlocks fills p with whole blocks from first on and verifies each.
func (d *Device) readBlocks(p []byte, first uint64) error {
	if err := readFull(d.backing, p, first*blockSize); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = &CorruptError{Level: dataLevel, Index: first, Err: err}
			d.onCorrupt(first, err)
		}
		return err
	}
	for i := first; len(p) > 0; i++ {
		if err := d.tree.verify(i, p[:blockSize]); err != nil {
			if corrupt, ok := errors.AsType[*CorruptError](err); ok {
				d.onCorrupt(i, corrupt)
			}
			return err
		}
		p = p[blockSize:]
	}
	return nil
}

// readFull reads all of p or fails.
func readFull(r io.ReaderAt, p []byte, offset uint64) error {
	n, err := r.ReadAt(p, int64(offset))
	if n == len(p) {
		return nil // an io.EOF exactly at the end is fine
	}
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
