package block

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/clearrun/clearrun/virtio/virtiotest"
)

// corruption starts a fresh device over the image, reads one block, and gives
// the status and what OnCorrupt was told.
func corruption(t *testing.T, f *os.File, v Verity, block uint64) (byte, []*CorruptError) {
	t.Helper()
	var seen []*CorruptError
	dev, err := New(Config{
		Backing: f, Size: v.DataBlocks * blockSize, Verity: &v,
		OnCorrupt: func(n uint64, err error) {
			var corrupt *CorruptError
			if !errors.As(err, &corrupt) || n != block {
				t.Errorf("OnCorrupt(%d, %v), want block %d", n, err, block)
			}
			seen = append(seen, corrupt)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	d := virtiotest.New(t, dev)
	d.Start(virtiotest.AllFeatures)
	data, status := do(d.Queue(0), requestIn, block*blockSize/sectorSize, blockSize)
	if status != statusOK && !bytes.Equal(data, make([]byte, blockSize)) {
		t.Error("unverified data reached the guest")
	}
	if err := d.Transport.Close(); err != nil {
		t.Error(err)
	}
	return status, seen
}

// TestCorruptionIsFound flips one bit at a time in data and tree. Exactly the
// blocks below it stop being readable.
func TestCorruptionIsFound(t *testing.T) {
	const blocks = 128*2 + 5 // levels: 3 blocks and their root
	im := newImage(t, blocks, []byte("pepper"))
	f := im.open(t)
	const tree = blocks * blockSize
	const root, leaves = tree, tree + blockSize
	cases := []struct {
		name   string
		offset int64
		level  int
		broken []uint64
		intact []uint64
	}{
		{"first byte of the data", 0, dataLevel, []uint64{0}, []uint64{1, 128, blocks - 1}},
		{"last byte of a block", 7*blockSize - 1, dataLevel, []uint64{6}, []uint64{5, 7}},
		{"last byte of the data", tree - 1, dataLevel, []uint64{blocks - 1}, []uint64{0, blocks - 2}},
		{"first byte of the root", root, 1, []uint64{0, 127, 128, blocks - 1}, nil},
		{"padding of the root", root + 3*32, 1, []uint64{0, 127, 128, blocks - 1}, nil},
		{"last byte of the root", root + blockSize - 1, 1, []uint64{0, 128, blocks - 1}, nil},
		{"first leaf, own digest", leaves, 0, []uint64{0, 1, 127}, []uint64{128, blocks - 1}},
		{"second leaf, last digest", leaves + 2*blockSize - 1, 0, []uint64{128, 255}, []uint64{0, 127, 256}},
		{"last leaf, padding", im.total - 1, 0, []uint64{256, blocks - 1}, []uint64{0, 255}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			undo := flip(t, f, c.offset)
			defer undo()
			for _, block := range c.broken {
				status, seen := corruption(t, f, im.verity, block)
				if status != statusIOErr || len(seen) != 1 || seen[0].Level != c.level {
					t.Errorf("block %d: status %d, %v", block, status, seen)
				}
			}
			for _, block := range c.intact {
				if status, seen := corruption(t, f, im.verity, block); status != statusOK || len(seen) != 0 {
					t.Errorf("intact block %d: status %d, %v", block, status, seen)
				}
			}
		})
	}
	if status, _ := corruption(t, f, im.verity, 0); status != statusOK {
		t.Errorf("restored image: status %d", status)
	}
}

// TestWrongParameters: whoever changes what the signature covers reads
// nothing.
func TestWrongParameters(t *testing.T) {
	for _, blocks := range []uint64{1, 5, 200} {
		im := newImage(t, blocks, []byte("pepper"))
		f := im.open(t)
		cases := map[string]func(*Verity){
			"root hash":      func(v *Verity) { v.RootHash[31] ^= 1 },
			"no root hash":   func(v *Verity) { v.RootHash = [32]byte{} },
			"salt":           func(v *Verity) { v.Salt = []byte("peppes") },
			"no salt":        func(v *Verity) { v.Salt = nil },
			"salt cut":       func(v *Verity) { v.Salt = v.Salt[:5] },
			"hash offset":    func(v *Verity) { v.HashOffset += blockSize },
			"levels missing": func(v *Verity) { v.DataBlocks = 1 },
		}
		if blocks == 1 { // without a tree there is no more than the root hash
			delete(cases, "hash offset")
			delete(cases, "levels missing")
		}
		for name, change := range cases {
			v := im.verity
			change(&v)
			if status, seen := corruption(t, f, v, 0); status != statusIOErr || len(seen) != 1 {
				t.Errorf("%d blocks, %s: status %d, %v", blocks, name, status, seen)
			}
		}
	}
}

// TestTruncatedImage: a file that lost its end is as corrupt as one that was
// changed.
func TestTruncatedImage(t *testing.T) {
	im := newImage(t, 200, nil)
	f := im.open(t)
	if err := f.Truncate(200*blockSize + blockSize + 100); err != nil {
		t.Fatal(err)
	}
	if status, seen := corruption(t, f, im.verity, 3); status != statusIOErr || len(seen) != 1 || seen[0].Level != 0 {
		t.Errorf("half a tree: status %d, %v", status, seen)
	}
	if err := f.Truncate(10 * blockSize); err != nil {
		t.Fatal(err)
	}
	if status, seen := corruption(t, f, im.verity, 100); status != statusIOErr || len(seen) != 1 {
		t.Errorf("half the data: status %d, %v", status, seen)
	}
}

// TestEveryReadIsVerified: a block that was good once is checked again.
func TestEveryReadIsVerified(t *testing.T) {
	im := newImage(t, 300, nil)
	f := im.open(t)
	q := disk(t, Config{Backing: f, Size: uint64(len(im.data)), Verity: &im.verity})
	read := func(sector uint64, n int) byte {
		_, status := do(q, requestIn, sector, n)
		return status
	}
	if status := read(0, blockSize); status != statusOK {
		t.Fatalf("status %d", status)
	}
	undo := flip(t, f, 4000)
	if status := read(0, sectorSize); status != statusIOErr {
		t.Errorf("first sector of a block with a bad last one: status %d", status)
	}
	if status := read(8, blockSize); status != statusOK {
		t.Errorf("its neighbour: status %d", status)
	}
	if status := read(0, 300*blockSize); status != statusIOErr {
		t.Errorf("a large read over it: status %d", status)
	}
	undo()
	if status := read(0, 300*blockSize); status != statusOK {
		t.Errorf("repaired: status %d", status)
	}
}

// TestCacheEviction alternates between hash blocks that share a cache slot,
// with the root among them.
func TestCacheEviction(t *testing.T) {
	const blocks = 128 * (2*cacheSlots + 2)
	im := newImage(t, blocks, nil)
	tr, err := newTree(im.open(t), &im.verity)
	if err != nil {
		t.Fatal(err)
	}
	shared := []uint64{0, cacheSlots * 128, 2 * cacheSlots * 128, (cacheSlots - 1) * 128, (2*cacheSlots - 1) * 128}
	for round := range 3 {
		for _, n := range shared {
			if err := tr.verify(n, im.data[n*blockSize:][:blockSize]); err != nil {
				t.Errorf("round %d, block %d: %v", round, n, err)
			}
			if err := tr.verify(n, im.data[(n+1)*blockSize:][:blockSize]); err == nil {
				t.Errorf("round %d: content of block %d passed for block %d", round, n+1, n)
			}
		}
	}
}
