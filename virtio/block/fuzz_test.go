package block

import (
	"bytes"
	"os"
	"testing"

	"github.com/clearrun/clearrun/virtio"
	"github.com/clearrun/clearrun/virtio/virtiotest"
)

func FuzzBlock(f *testing.F) {
	const payload = virtiotest.ChaosPayload
	const data = 0x20000
	const next, write = virtio.DescNext, virtio.DescWrite
	request := func(typ uint32, sector uint64, room uint32) []byte {
		return virtiotest.ChaosChain(0, header(typ, sector),
			virtiotest.Desc{Addr: payload, Len: headerSize, Flags: next, Next: 1},
			virtiotest.Desc{Addr: data, Len: room, Flags: next | write, Next: 2},
			virtiotest.Desc{Addr: 0x10000, Len: 1, Flags: write})
	}
	f.Add(request(requestIn, 0, 4096))
	f.Add(append(request(requestIn, 15, 512), request(requestGetID, 0, 20)...))
	f.Add(request(requestIn, 1<<55, 512))
	f.Add(request(requestOut, 1, 512))
	f.Add(request(99, 1, 512))
	f.Add(virtiotest.ChaosChain(0, header(requestFlush, 0),
		virtiotest.Desc{Addr: payload, Len: headerSize, Flags: next, Next: 1},
		virtiotest.Desc{Addr: data, Len: 1, Flags: write}))

	im := newImage(f, 3, []byte("salt"))
	file, err := os.ReadFile(im.path)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		dev, err := New(Config{
			Backing: bytes.NewReader(file), Size: uint64(len(im.data)), Verity: &im.verity, ID: "fuzz",
			OnCorrupt: func(n uint64, err error) { t.Errorf("block %d: %v", n, err) },
		})
		if err != nil {
			t.Fatal(err)
		}
		virtiotest.Chaos(t, dev, []int{0}, script)
	})
}
