package launch

import (
	"encoding/binary"
	"errors"
	"io"
)

// Sample says where a vCPU was.
type Sample struct {
	VCPU         uint32
	RIP          uint64
	Instructions uint64 // emulated by KVM for this vCPU so far; 0 where they are not counted
}

// A sample on its way: VCPU, RIP, Instructions, little-endian.
const (
	sampleRIPAt   = 4
	sampleInsnAt  = 12
	SampleSize    = 20 // bytes
	sampleCPUsMax = 1 << 8
)

// Append adds the sample's SampleSize bytes to b.
func (s Sample) Append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, s.VCPU)
	b = binary.LittleEndian.AppendUint64(b, s.RIP)
	return binary.LittleEndian.AppendUint64(b, s.Instructions)
}

// ReadSample reads the next sample; io.EOF says that there is none.
func ReadSample(r io.Reader) (Sample, error) {
	var b [SampleSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return Sample{}, err
	}
	le := binary.LittleEndian
	s := Sample{VCPU: le.Uint32(b[:]), RIP: le.Uint64(b[sampleRIPAt:]), Instructions: le.Uint64(b[sampleInsnAt:])}
	if s.VCPU >= sampleCPUsMax {
		return Sample{}, errors.New("sample of a vCPU that no VM has")
	}
	return s, nil
}
