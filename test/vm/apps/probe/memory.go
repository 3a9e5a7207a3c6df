package main

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"os"

	"golang.org/x/sys/unix"
)

// fill takes the number of MiB in args[0] at once, checks that they are zero, writes
// something else into each page, and checks that it is still there in the end.
func fill(args []string) error {
	mib, err := argument(args, 0)
	if err != nil {
		return err
	}
	const flags = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_POPULATE
	b, err := unix.Mmap(-1, 0, mib<<20, unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		return err
	}
	page := os.Getpagesize()
	mark := func(at int) uint64 { return bits.Reverse64(uint64(at)) ^ 0x5a5a }
	for at := 0; at < len(b); at += 8 {
		if binary.LittleEndian.Uint64(b[at:]) != 0 {
			return fmt.Errorf("fresh memory is not zero at %#x", at)
		}
		if at%page == 0 || at%page == page-8 {
			binary.LittleEndian.PutUint64(b[at:], mark(at))
		}
	}
	for at := 0; at < len(b); at += page {
		for _, at := range []int{at, at + page - 8} {
			if got := binary.LittleEndian.Uint64(b[at:]); got != mark(at) {
				return fmt.Errorf("%#x at %#x, want %#x", got, at, mark(at))
			}
		}
	}
	fmt.Printf("%d MiB kept what was written\n", mib)
	return nil
}
