package block

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/clearrun/clearrun/virtio"
	"github.com/clearrun/clearrun/virtio/virtiotest"
)

// disk starts a device and gives its request queue.
func disk(t testing.TB, c Config) *virtiotest.Queue {
	t.Helper()
	dev, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	d := virtiotest.New(t, dev)
	d.Start(virtiotest.AllFeatures)
	return d.Queue(0)
}

func header(typ uint32, sector uint64) []byte {
	b := make([]byte, headerSize)
	binary.LittleEndian.PutUint32(b[headerType:], typ)
	binary.LittleEndian.PutUint64(b[headerSector:], sector)
	return b
}

// do performs one request with data segments of the given sizes.
func do(q *virtiotest.Queue, typ uint32, sector uint64, segments ...int) (data []byte, status byte) {
	r := q.Do([][]byte{header(typ, sector)}, append(segments, statusSize)...)
	all := bytes.Join(r.In, nil)
	return all[:len(all)-statusSize], all[len(all)-statusSize]
}

func TestSuite(t *testing.T) {
	im := newImage(t, 300, []byte("salt"))
	virtiotest.Suite{
		New: func(t testing.TB) virtio.Device {
			dev, err := New(Config{Backing: im.open(t), Size: uint64(len(im.data)), Verity: &im.verity})
			if err != nil {
				t.Fatal(err)
			}
			return dev
		},
		Served: []int{0},
		Busy: func(d *virtiotest.Driver) {
			for i := range uint64(10) {
				if _, err := d.Queue(0).Push([][]byte{header(requestIn, i*8)}, 100*blockSize, statusSize); err != nil {
					d.T.Fatal(err)
				}
				d.Queue(0).Kick()
			}
		},
	}.Run(t)
}

func TestNewRejects(t *testing.T) {
	file := bytes.NewReader(nil)
	good := func() Config {
		return Config{Backing: file, Size: 2 * blockSize, Verity: &Verity{DataBlocks: 2, HashOffset: 2 * blockSize}}
	}
	if _, err := New(good()); err != nil {
		t.Fatal(err)
	}
	cases := map[string]func(*Config){
		"no backing":          func(c *Config) { c.Backing = nil },
		"empty":               func(c *Config) { c.Size = 0 },
		"half a sector":       func(c *Config) { c.Size = sectorSize / 2 },
		"size overflows":      func(c *Config) { c.Size, c.Verity = math.MaxUint64&^(sectorSize-1), nil },
		"long ID":             func(c *Config) { c.ID = "123456789012345678901" },
		"more than verified":  func(c *Config) { c.Size += sectorSize },
		"no data blocks":      func(c *Config) { c.Verity.DataBlocks = 0 },
		"data overflows":      func(c *Config) { c.Verity.DataBlocks = 1 << 52 },
		"long salt":           func(c *Config) { c.Verity.Salt = make([]byte, 257) },
		"tree in the data":    func(c *Config) { c.Verity.HashOffset = blockSize },
		"tree not at a block": func(c *Config) { c.Verity.HashOffset += sectorSize },
		"tree past the end":   func(c *Config) { c.Verity.HashOffset = 1 << 63 },
	}
	for name, change := range cases {
		c := good()
		change(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestConfigSpace(t *testing.T) {
	dev, err := New(Config{Backing: bytes.NewReader(nil), Size: 10 * blockSize})
	if err != nil {
		t.Fatal(err)
	}
	d := virtiotest.New(t, dev)
	le := binary.LittleEndian
	var b [64]byte
	d.Transport.Read(virtio.RegConfig, b[:])
	if got := le.Uint64(b[configCapacity:]); got != 80 {
		t.Errorf("capacity of %d sectors", got)
	}
	if got := le.Uint32(b[configBlkSize:]); got != 512 {
		t.Errorf("block size %d", got)
	}
	if got := b[configPhysExp]; got != 3 {
		t.Errorf("physical block of 2^%d sectors", got)
	}
	if seg := le.Uint32(b[configSegMax:]); seg+2 > queueSize {
		t.Errorf("%d segments do not fit a queue of %d", seg, queueSize)
	}
	if d.Offered()&featureReadOnly == 0 {
		t.Error("not read-only")
	}
}

func TestRequests(t *testing.T) {
	// The file goes on behind the disk.
	data := bytes.Repeat([]byte("0123456789abcdef"), 5*blockSize/16)
	const sectors = 32
	q := disk(t, Config{Backing: bytes.NewReader(data), Size: sectors * sectorSize, ID: "clearrun-root"})
	cases := []struct {
		name     string
		typ      uint32
		sector   uint64
		segments []int
		status   byte
	}{
		{"read", requestIn, 0, []int{512}, statusOK},
		{"read all", requestIn, 0, []int{sectors * 512}, statusOK},
		{"read the last", requestIn, sectors - 1, []int{512}, statusOK},
		{"read nothing", requestIn, 3, nil, statusOK},
		{"read nothing at the end", requestIn, sectors, nil, statusOK},
		{"read in odd segments", requestIn, 1, []int{1, 1000, 23}, statusOK},
		{"read half a sector", requestIn, 0, []int{256}, statusIOErr},
		{"read a sector and a byte", requestIn, 0, []int{513}, statusIOErr},
		{"read past the end", requestIn, sectors - 1, []int{1024}, statusIOErr},
		{"read at the end", requestIn, sectors, []int{512}, statusIOErr},
		{"read far past the end", requestIn, 1 << 40, []int{512}, statusIOErr},
		{"sector overflows", requestIn, math.MaxUint64, []int{512}, statusIOErr},
		{"sector in bytes overflows", requestIn, 1 << 55, []int{512}, statusIOErr},
		{"write", requestOut, 0, nil, statusIOErr},
		{"write with room", requestOut, 0, []int{512}, statusIOErr},
		{"flush", requestFlush, 0, nil, statusOK},
		{"get ID", requestGetID, 0, []int{20}, statusOK},
		{"get ID in pieces", requestGetID, 0, []int{3, 17}, statusOK},
		{"get ID without room", requestGetID, 0, []int{19}, statusIOErr},
		{"discard", 11, 0, nil, statusUnsup},
		{"write zeroes", 13, 0, nil, statusUnsup},
		{"unknown", math.MaxUint32, 0, []int{512}, statusUnsup},
	}
	for _, c := range cases {
		got, status := do(q, c.typ, c.sector, c.segments...)
		if status != c.status {
			t.Errorf("%s: status %d, want %d", c.name, status, c.status)
			continue
		}
		var want []byte
		switch {
		case status != statusOK:
			continue
		case c.typ == requestIn:
			want = data[c.sector*512:][:len(got)]
		case c.typ == requestGetID:
			want = append([]byte("clearrun-root"), make([]byte, 7)...)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: wrong data", c.name)
		}
	}
}

// TestRequestSizeIsBounded: Reset has to wait for one request, so none may be
// as long as the disk.
func TestRequestSizeIsBounded(t *testing.T) {
	im := newImage(t, 1, nil)
	f := im.open(t)
	const size = 2 * requestMax
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	q := disk(t, Config{Backing: f, Size: size})
	if _, status := do(q, requestIn, 0, requestMax); status != statusOK {
		t.Errorf("largest request: status %d", status)
	}
	q = disk(t, Config{Backing: f, Size: size})
	if _, status := do(q, requestIn, 0, requestMax+sectorSize); status != statusIOErr {
		t.Errorf("larger request: status %d", status)
	}
}

// TestBrokenRequests: without a header or a place for the status there is no
// answer but to ask for a reset.
func TestBrokenRequests(t *testing.T) {
	cases := map[string]struct {
		out [][]byte
		in  []int
	}{
		"no status":    {[][]byte{header(requestIn, 0)}, nil},
		"short header": {[][]byte{make([]byte, headerSize-1)}, []int{512, 1}},
		"no header":    {nil, []int{512, 1}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dev, err := New(Config{Backing: bytes.NewReader(make([]byte, blockSize)), Size: blockSize})
			if err != nil {
				t.Fatal(err)
			}
			d := virtiotest.New(t, dev)
			d.Start(virtiotest.AllFeatures)
			if _, err := d.Queue(0).Push(c.out, c.in...); err != nil {
				t.Fatal(err)
			}
			d.Queue(0).Kick()
			d.WaitFailure()
		})
	}
	// A header in pieces, and data behind it, are fine.
	q := disk(t, Config{Backing: bytes.NewReader(make([]byte, blockSize)), Size: blockSize})
	h := header(requestIn, 0)
	r := q.Do([][]byte{h[:1], h[1:7], h[7:], make([]byte, 100)}, 512, 1)
	if r.In[1][0] != statusOK || r.Written != 513 {
		t.Errorf("status %d, %d bytes written", r.In[1][0], r.Written)
	}
}

// TestReadsMatch reads random ranges, in random pieces, of disks with trees of
// no, one, two and three levels.
func TestReadsMatch(t *testing.T) {
	for _, blocks := range []uint64{1, 2, 128, 129, 128*128 + 3} {
		im := newImage(t, blocks, []byte{1, 2, 3})
		for _, v := range []*Verity{nil, &im.verity} {
			size := uint64(len(im.data)) - 3*sectorSize // ends inside of a block
			q := disk(t, Config{Backing: im.open(t), Size: size, Verity: v})
			rnd := rand.New(rand.NewPCG(blocks, 2))
			for range 200 {
				sector := rnd.Uint64N(size / sectorSize)
				n := int(1+rnd.Uint64N(min(size/sectorSize-sector, 1000))) * sectorSize
				cut := rnd.IntN(n)
				segments := []int{n - cut}
				if cut > 0 {
					segments = append(segments, cut)
				}
				got, status := do(q, requestIn, sector, segments...)
				if status != statusOK || !bytes.Equal(got, im.data[sector*sectorSize:][:n]) {
					t.Fatalf("%d blocks, verity %v: sector %d, %d bytes: status %d", blocks, v != nil, sector, n, status)
				}
			}
		}
	}
}

func BenchmarkVerifiedRead(b *testing.B) {
	im := newImage(b, 4096, make([]byte, 32))
	q := disk(b, Config{Backing: im.open(b), Size: uint64(len(im.data)), Verity: &im.verity})
	const n = 128 << 10
	b.SetBytes(n)
	for i := 0; b.Loop(); i++ {
		if _, status := do(q, requestIn, uint64(i%128)*n/sectorSize, n); status != statusOK {
			b.Fatal("read failed")
		}
	}
}
