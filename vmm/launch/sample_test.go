package launch

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

func TestSampleRoundTrip(t *testing.T) {
	want := []Sample{{VCPU: 31, RIP: 0xffffffff81000042, Instructions: 1 << 60}, {}}
	var b []byte
	for _, s := range want {
		b = s.Append(b)
	}
	if len(b) != len(want)*SampleSize {
		t.Fatalf("%d bytes, want %d a sample", len(b), SampleSize)
	}
	r := bytes.NewReader(b)
	for _, w := range want {
		if got, err := ReadSample(r); err != nil || got != w {
			t.Errorf("%+v, %v, want %+v", got, err, w)
		}
	}
	if _, err := ReadSample(r); !errors.Is(err, io.EOF) {
		t.Errorf("behind the last one: %v, want EOF", err)
	}
	if _, err := ReadSample(bytes.NewReader(b[:SampleSize-1])); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a cut sample: %v", err)
	}
}

func FuzzSample(f *testing.F) {
	f.Add(Sample{VCPU: 1, RIP: 2, Instructions: 3}.Append(nil))
	f.Add(bytes.Repeat([]byte{0xff}, SampleSize))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ReadSample(bytes.NewReader(data))
		if err == nil && !bytes.Equal(s.Append(nil), data[:SampleSize]) {
			t.Errorf("%+v is not what was read", s)
		}
	})
}
