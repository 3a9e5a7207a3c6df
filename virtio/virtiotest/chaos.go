package virtiotest

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/clearrun/clearrun/virtio"
	"github.com/clearrun/clearrun/vmm/guestmem"
)

// Where Chaos lets descriptors point: 1 MiB of RAM below the rings, with the
// payload in a place that seeds can name.
const (
	chaosStep    = 16 // a descriptor's address counts in these
	ChaosPayload = 0x8000
	chaosWild    = 0xffff // this address is not RAM
	chaosRounds  = 64     // chains between two resets
	chaosDescs   = 16
	chaosDescLen = 6
)

// ChaosChain encodes one step of a Chaos script, for seeds: a chain for the
// queue, and what is written to ChaosPayload beforehand. Addresses are rounded
// down to 16, lengths cut to 16 bits.
func ChaosChain(queue int, payload []byte, descs ...Desc) []byte {
	b := []byte{byte(queue), byte(len(descs)), 0}
	for _, d := range descs {
		b = binary.LittleEndian.AppendUint16(b, uint16(d.Addr/chaosStep))
		b = binary.LittleEndian.AppendUint16(b, uint16(d.Len))
		b = append(b, byte(d.Flags), byte(d.Next))
	}
	return append(append(b, byte(len(payload))), payload...)
}

// Chaos plays a driver that does what script says, for fuzz tests: any chain,
// any content, in any queue. The device must take every chain of a served
// queue, or ask for a reset because a rule was broken; a panic or a hang fails
// the test.
func Chaos(t testing.TB, dev virtio.Device, served []int, script []byte) {
	d := New(t, dev)
	features := uint64(AllFeatures)
	if len(script) > 0 && script[0]&0x80 != 0 {
		features &^= virtio.FeatureEventIdx
	}
	for len(script) > 0 {
		d.Start(features)
		for round := 0; round < chaosRounds && len(script) > 0; round++ {
			index := int(script[0]&0x7f) % len(d.queues)
			q := d.Queue(index)
			script = q.chaosChain(script[1:])
			if slices.Contains(served, index) && !q.settle() {
				break // the device asked for a reset
			}
		}
	}
}

// chaosChain builds, publishes and kicks one chain, and returns the rest of
// the script.
func (q *Queue) chaosChain(script []byte) []byte {
	take := func(n int) []byte {
		b := make([]byte, n)
		script = script[copy(b, script):]
		return b
	}
	lead := take(2)
	for i := range uint16(lead[0]) % (chaosDescs + 1) {
		b := take(chaosDescLen)
		desc := Desc{
			Addr:  chaosStep * uint64(binary.LittleEndian.Uint16(b)),
			Len:   uint32(binary.LittleEndian.Uint16(b[2:])),
			Flags: uint16(b[4]), Next: uint16(b[5]),
		}
		if desc.Addr == chaosStep*chaosWild {
			desc.Addr = MemorySize - guestmem.PageSize
		}
		q.SetDesc(i, desc)
	}
	payload := take(int(take(1)[0]))
	copy(q.driver.Bytes(ChaosPayload, uint64(len(payload))), payload)
	if q.eventIdx {
		q.avail.Store16(4+2*int(q.config.Size), q.availIdx)
	}
	q.Publish(uint16(lead[1]))
	q.ForceKick()
	return script
}

// settle waits until the device has used everything, or false if it needs a
// reset.
func (q *Queue) settle() bool {
	d := q.driver
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for q.UsedIdx() != q.availIdx {
		select {
		case <-d.raised[q.index]:
		case err := <-d.failures:
			var bug *virtio.PanicError
			if errors.As(err, &bug) {
				d.T.Fatal(err)
			}
			return false
		case <-timeout.C:
			d.T.Fatalf("queue %d: device neither used the chain nor failed", q.index)
		}
	}
	return true
}
