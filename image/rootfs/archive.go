package rootfs

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/clearrun/clearrun/image"
)

// entries reads a layer's tar entry by entry, and knows where in it each one begins.
type entries struct {
	layer   image.Layer
	archive *io.SectionReader
	tr      *tar.Reader
	end     int64  // of the last entry's data
	sparse  bool   // the last entry is; then end is not known yet
	left    *int64 // bytes that files may still have
}

func newEntries(layer image.Layer, left *int64) *entries {
	archive := layer.Open()
	return &entries{layer: layer, archive: archive, tr: tar.NewReader(archive), left: left}
}

// drainBuffer is that for reading over a sparse file.
const drainBuffer = 1 << 20

// tarBlock is the unit of a tar's headers and data.
const tarBlock = 512

// next returns the next entry that belongs to the root, with its path in it and, for a
// regular file that is not empty, its data. The error at the end is io.EOF.
func (e *entries) next() (p string, h *tar.Header, data *fileData, err error) {
	for {
		start, err := e.start()
		if err != nil {
			return "", nil, nil, fmt.Errorf("read archive: %w", err)
		}
		h, err := e.tr.Next()
		if errors.Is(err, io.EOF) {
			return "", nil, nil, io.EOF
		}
		if err != nil {
			return "", nil, nil, fmt.Errorf("read archive: %w", err)
		}
		data, err := e.data(h, start)
		if err != nil {
			return "", nil, nil, err
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue // says something about the archive, such as a commit
		}
		p, inside, err := entryPath(h.Name, e.layer)
		if err != nil {
			return "", nil, nil, err
		}
		if inside {
			return p, h, data, nil
		}
	}
}

// start gives where the header of the next entry begins. Of a sparse file, only the tar
// reader knows, once it has read it.
func (e *entries) start() (int64, error) {
	if e.sparse {
		// Without the wrapper, Discard would choose a small buffer of its own.
		if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, e.tr, make([]byte, drainBuffer)); err != nil {
			return 0, err
		}
		var err error
		if e.end, err = e.archive.Seek(0, io.SeekCurrent); err != nil {
			return 0, err
		}
	}
	return (e.end + tarBlock - 1) / tarBlock * tarBlock, nil
}

// data describes the data of the entry, whose headers begin at start.
func (e *entries) data(h *tar.Header, start int64) (*fileData, error) {
	at, err := e.archive.Seek(0, io.SeekCurrent) // the tar reader stands at the first byte
	if err != nil {
		return nil, fmt.Errorf("read archive: %w", err)
	}
	e.end, e.sparse = at, isSparse(h)
	if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeGNUSparse || h.Size == 0 {
		return nil, nil
	}
	if h.Size < 0 {
		return nil, fmt.Errorf("entry %q: size %d", h.Name, h.Size)
	}
	// A sparse file may claim any size, and each byte of it will be looked at.
	if *e.left -= h.Size; *e.left < 0 {
		return nil, fmt.Errorf("entry %q: files are larger than the limit allows (--max-image-size raises it)", h.Name)
	}
	if e.sparse {
		return &fileData{archive: e.archive, at: start, size: h.Size, sparse: true}, nil
	}
	e.end += h.Size
	return &fileData{archive: e.archive, at: at, size: h.Size}, nil
}

// isSparse tells whether the archive holds the file without its holes, in any of GNU
// tar's four formats.
func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return h.Typeflag == tar.TypeReg
		}
	}
	return false
}

// fileData is where in a layer's archive a file's data is.
type fileData struct {
	archive io.ReaderAt
	at      int64 // of the data; of a sparse file's headers
	size    int64
	sparse  bool
}

// content is the data as the EROFS writer takes it: a sparse file can be read from
// its start only.
func (d *fileData) content() contentReader {
	if d.sparse {
		return sparseContent{d}
	}
	return flatContent{d}
}

type contentReader interface {
	Size() int64
	Open() (io.Reader, error)
}

type flatContent struct{ *fileData }

// Size is the number of bytes.
func (f flatContent) Size() int64 { return f.size }

// Open starts at the first byte.
func (f flatContent) Open() (io.Reader, error) {
	return io.NewSectionReader(f.archive, f.at, f.size), nil
}

// ReadAt reads at random.
func (f flatContent) ReadAt(p []byte, off int64) (int, error) {
	return io.NewSectionReader(f.archive, f.at, f.size).ReadAt(p, off)
}

type sparseContent struct{ *fileData }

// Size is the number of bytes, holes included.
func (s sparseContent) Size() int64 { return s.size }

// Open has the tar reader interpret the entry once more.
func (s sparseContent) Open() (io.Reader, error) {
	tr := tar.NewReader(io.NewSectionReader(s.archive, s.at, 1<<62))
	if _, err := tr.Next(); err != nil {
		return nil, fmt.Errorf("read archive: %w", err)
	}
	return tr, nil
}
