package rng

import (
	"bytes"
	"testing"

	"github.com/clearrun/clearrun/virtio"
	"github.com/clearrun/clearrun/virtio/virtiotest"
)

func newDevice(testing.TB) virtio.Device { return New() }

func TestSuite(t *testing.T) {
	virtiotest.Suite{
		New:    newDevice,
		Served: []int{0},
		Busy: func(d *virtiotest.Driver) {
			for range 20 {
				if _, err := d.Queue(0).Push(nil, requestMax); err != nil {
					d.T.Fatal(err)
				}
				d.Queue(0).Kick()
			}
		},
	}.Run(t)
}

func TestRequestSizes(t *testing.T) {
	cases := []struct {
		name string
		out  [][]byte
		in   []int
		want uint32
	}{
		{"one byte", nil, []int{1}, 1},
		{"several pieces", nil, []int{3, pieceSize, 70}, 73 + pieceSize},
		{"the largest", nil, []int{requestMax}, requestMax},
		{"too large", nil, []int{requestMax + 1}, requestMax},
		{"far too large", nil, []int{1000, 16 << 20}, requestMax},
		{"nothing to fill", [][]byte{{1, 2, 3}}, nil, 0},
		{"readable part is ignored", [][]byte{{1, 2, 3}}, []int{100}, 100},
	}
	d := virtiotest.New(t, New())
	d.Start(virtiotest.AllFeatures)
	for _, c := range cases {
		r := d.Queue(0).Do(c.out, c.in...)
		if r.Written != c.want {
			t.Errorf("%s: %d bytes written, want %d", c.name, r.Written, c.want)
		}
		if rest := bytes.Join(r.In, nil)[r.Written:]; !bytes.Equal(rest, make([]byte, len(rest))) {
			t.Errorf("%s: wrote more than it reports", c.name)
		}
	}
}

// TestBytesDiffer: no piece of a buffer repeats, within a request and from
// one to the next.
func TestBytesDiffer(t *testing.T) {
	d := virtiotest.New(t, New())
	d.Start(virtiotest.AllFeatures)
	seen := make(map[[16]byte]bool)
	for range 4 {
		b := d.Queue(0).Do(nil, 4*pieceSize).In[0]
		for ; len(b) > 0; b = b[16:] {
			block := [16]byte(b)
			if seen[block] {
				t.Fatalf("block % x appeared twice", block)
			}
			seen[block] = true
		}
	}
}

func FuzzRNG(f *testing.F) {
	f.Add(virtiotest.ChaosChain(0, nil, virtiotest.Desc{Addr: 0x8000, Len: 100, Flags: virtio.DescWrite}))
	f.Add(virtiotest.ChaosChain(0, nil,
		virtiotest.Desc{Addr: 0x8000, Len: 0xffff, Flags: virtio.DescWrite | virtio.DescNext, Next: 1},
		virtiotest.Desc{Addr: 0x4000, Len: 0xffff, Flags: virtio.DescWrite}))
	f.Add(virtiotest.ChaosChain(0, nil, virtiotest.Desc{Addr: 0x8000, Len: 100, Flags: virtio.DescNext}))
	f.Fuzz(func(t *testing.T, script []byte) {
		virtiotest.Chaos(t, New(), []int{0}, script)
	})
}
