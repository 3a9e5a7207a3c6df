package proto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// fullStart sets every field to something other than its zero value.
func fullStart() *Start {
	return &Start{
		Args: []string{"sh", "-c", "echo \xff\x00"}, Env: []string{"A=b", ""}, Dir: "/srv",
		User: "www:web", Group: "42", SupplementaryGIDs: []uint32{7, 1 << 31}, Hostname: "box",
		Files: []File{{Path: "/etc/resolv.conf", Content: "nameserver 10.0.0.1\n", Mode: 0o644}},
		TTY:   true, Rows: 25, Cols: 80, Stdin: true, Stdout: true, Stderr: true,
		Capabilities: AllCapabilities, Ambient: CapabilitySet(0).With(10), NoNewPrivileges: true,
		Rlimits: []Rlimit{{Resource: 7, Soft: 1024, Hard: ^uint64(0)}}, Umask: 0o22,
		ReadOnlyRoot: true, OverlaySize: 1 << 40,
		MaskedPaths: []string{"/proc/keys"}, ReadOnlyPaths: []string{"/proc/sys"}, Seccomp: "\x06\x00",
		Volumes: []Volume{{Target: "/data", Name: "/srv:/data"}}, HostNetwork: true,
		ProcessLabel: "u:r:p:s0:c1,c2", MountLabel: "u:r:f:s0:c1,c2",
		IDs: 65537, PrivateImage: true,
		WallClock: -1,
	}
}

func allMessages() []Message {
	return []Message{
		&Start{}, fullStart(), &Signal{Signal: 15}, &Resize{Rows: 50, Cols: 200}, &Started{PID: 77},
		&Exit{Code: 255, Signal: 9, OOMKilled: true},
		&Failure{Stage: "exec", Message: "no such file", ExitCode: ExitNotFound},
	}
}

func mustFrame(t testing.TB, m Message) []byte {
	t.Helper()
	frame, err := Append(nil, m)
	if err != nil {
		t.Fatalf("append %T: %v", m, err)
	}
	return frame
}

func TestFullStartLeavesNoFieldZero(t *testing.T) {
	v := reflect.ValueOf(*fullStart())
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("fullStart does not set %s: the round trip would not test it", v.Type().Field(i).Name)
		}
	}
}

func TestRoundTripOnOneStream(t *testing.T) {
	var stream bytes.Buffer
	for _, m := range allMessages() {
		if err := Write(&stream, m); err != nil {
			t.Fatalf("write %T: %v", m, err)
		}
	}
	r := iotest.OneByteReader(&stream)
	for _, want := range allMessages() {
		got, err := Read(r)
		if err != nil {
			t.Fatalf("read %T: %v", want, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("read %+v, want %+v", got, want)
		}
	}
	if _, err := Read(r); err != io.EOF {
		t.Errorf("read at the end: %v, want io.EOF", err)
	}
}

func TestEveryTruncationIsRefused(t *testing.T) {
	for _, m := range allMessages() {
		frame := mustFrame(t, m)
		for n := 1; n < len(frame); n++ {
			if _, err := Read(bytes.NewReader(frame[:n])); err != io.ErrUnexpectedEOF {
				t.Fatalf("%T cut to %d of %d bytes: %v, want io.ErrUnexpectedEOF", m, n, len(frame), err)
			}
			if n <= lengthSize {
				continue
			}
			short := bytes.Clone(frame[:n])
			binary.BigEndian.PutUint32(short, uint32(n-lengthSize))
			if got, err := Read(bytes.NewReader(short)); err == nil {
				t.Fatalf("%T cut to %d of %d bytes and relabelled decodes to %+v", m, n, len(frame), got)
			}
		}
	}
}

func TestMalformedFramesAreRefused(t *testing.T) {
	edit := func(m Message, f func([]byte) []byte) []byte {
		frame := f(mustFrame(t, m))
		binary.BigEndian.PutUint32(frame, uint32(len(frame)-lengthSize))
		return frame
	}
	set := func(at int, b byte) func([]byte) []byte {
		return func(f []byte) []byte { f[at] = b; return f }
	}
	huge := make([]byte, lengthSize)
	binary.BigEndian.PutUint32(huge, MaxFrame+1)
	for name, c := range map[string]struct {
		frame []byte
		want  error
	}{
		"empty":             {make([]byte, lengthSize), errShort},
		"too large":         {huge, ErrTooLarge},
		"version":           {edit(&Signal{}, set(4, version+1)), errVersion},
		"kind zero":         {edit(&Signal{}, set(5, 0)), errKind},
		"kind unknown":      {edit(&Signal{}, set(5, kindFailure+1)), errKind},
		"excess byte":       {edit(&Signal{}, func(f []byte) []byte { return append(f, 0) }), errExcess},
		"boolean of 2":      {edit(&Exit{}, set(8, 2)), errBool},
		"count of strings":  {edit(&Start{}, set(6, 0xff)), errCount},
		"length of message": {edit(&Failure{}, set(6, 0xff)), errCount},
	} {
		if m, err := Read(bytes.NewReader(c.frame)); err != c.want {
			t.Errorf("%s: %+v, %v, want %v", name, m, err, c.want)
		}
	}
}

func TestMessageOverTheLimitIsNotWritten(t *testing.T) {
	var out bytes.Buffer
	err := Write(&out, &Start{Args: []string{strings.Repeat("x", MaxFrame)}})
	if !errors.Is(err, ErrTooLarge) || out.Len() > 0 {
		t.Errorf("write: %v after %d bytes, want ErrTooLarge and nothing written", err, out.Len())
	}
	large := &Start{Args: []string{strings.Repeat("x", MaxFrame-1000)}}
	got, err := Read(bytes.NewReader(mustFrame(t, large)))
	if err != nil || !reflect.DeepEqual(got, large) {
		t.Errorf("a message just under the limit: %v", err)
	}
}

func TestCapabilitySet(t *testing.T) {
	s := CapabilitySet(0).With(0).With(63)
	for n, want := range map[int]bool{-1: false, 0: true, 1: false, 63: true, 64: false} {
		if s.Has(n) != want {
			t.Errorf("Has(%d) = %v, want %v", n, !want, want)
		}
	}
}

// FuzzRead checks that no bytes crash the decoder, and that whatever it accepts
// encodes to the very bytes it came from: there is one encoding of a message.
func FuzzRead(f *testing.F) {
	for _, m := range allMessages() {
		f.Add(mustFrame(f, m))
	}
	f.Add([]byte{0, 0, 0, 6, version, kindStart, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := Read(bytes.NewReader(frame))
		if err != nil {
			return
		}
		again := mustFrame(t, m)
		if !bytes.HasPrefix(frame, again) {
			t.Errorf("%x decodes to %+v, which encodes to %x", frame, m, again)
		}
	})
}
