package launch

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"
)

func TestLineRoundTrip(t *testing.T) {
	want := []Line{
		{Instant{1, 2}, Instant{3, 1 << 60}, []byte("Linux version 6.12\x00\xff")},
		{Text: []byte{}},
	}
	var b []byte
	for _, l := range want {
		b = l.Append(b)
	}
	r := bytes.NewReader(b)
	for _, w := range want {
		if got, err := ReadLine(r); err != nil || !reflect.DeepEqual(got, w) {
			t.Errorf("%+v, %v, want %+v", got, err, w)
		}
	}
	if _, err := ReadLine(r); !errors.Is(err, io.EOF) {
		t.Errorf("behind the last one: %v, want EOF", err)
	}
	for _, n := range []int{lineHeader - 1, lineHeader, lineHeader + 3} {
		if _, err := ReadLine(bytes.NewReader(b[:n])); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
	long, err := ReadLine(bytes.NewReader(Line{Text: make([]byte, MaxLine+1)}.Append(nil)))
	if err != nil || len(long.Text) != MaxLine {
		t.Errorf("a long line comes as %d bytes, %v", len(long.Text), err)
	}
}

func FuzzLine(f *testing.F) {
	f.Add(Line{Instant{1, 2}, Instant{3, 4}, []byte("hello")}.Append(nil))
	f.Add(bytes.Repeat([]byte{0xff}, 100))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := ReadLine(bytes.NewReader(data))
		if err == nil && !bytes.Equal(l.Append(nil), data[:lineHeader+len(l.Text)]) {
			t.Errorf("%+v is not what was read", l)
		}
	})
}
