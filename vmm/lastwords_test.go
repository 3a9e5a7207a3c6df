package vmm

import (
	"errors"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/vmm/guestmem"
)

func TestLastWords(t *testing.T) {
	all := strings.Repeat("0123456789abcdef-", 700)
	var whole, bytewise lastWords
	for i, b := range []byte(all) {
		written := all[:i+1]
		bytewise.Write([]byte{b})
		if got, want := bytewise.String(), written[max(0, len(written)-lastWordsMax):]; got != want {
			t.Fatalf("after %d bytes: %d of them are kept, or others", len(written), len(got))
		}
	}
	whole.Write([]byte(all))
	if whole.String() != bytewise.String() {
		t.Error("one long write keeps something else than many short ones")
	}
}

// TestQuietConsole: what a guest says without being asked is kept, and no more.
func TestQuietConsole(t *testing.T) {
	m := machine(t, Config{Kernel: kernel(t, code(
		outByte(portCOM1, 'o'), outByte(portCOM1, 'h'), outByte(guestmem.PortStopWatch, 1), powerOff), nil)})
	if err := m.Run(t.Context()); !errors.Is(err, ErrPoweredOff) {
		t.Fatal(err)
	}
	if got := m.LastWords(); got != "oh" {
		t.Errorf("last words %q, want %q", got, "oh")
	}
}
