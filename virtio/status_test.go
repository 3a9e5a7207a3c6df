package virtio

import "testing"

func TestPassed(t *testing.T) {
	cases := []struct {
		event, before, now uint16
		want               bool
	}{
		{0, 0, 1, true},
		{0, 0, 0, false},
		{1, 0, 1, false},
		{1, 0, 2, true},
		{0, 1, 5, false},
		{4, 1, 5, true},
		{5, 1, 5, false},
		{65535, 65535, 0, true},
		{65535, 65530, 3, true},
		{3, 65530, 3, false},
		{2, 65530, 3, true},
		{65529, 65530, 3, false},
	}
	for _, c := range cases {
		if got := passed(c.event, c.before, c.now); got != c.want {
			t.Errorf("passed(%d, %d, %d) = %v", c.event, c.before, c.now, got)
		}
	}
}

// TestStatusHasOnePath walks every status from every status and finds that
// only the order of 3.1.1 leads to DRIVER_OK.
func TestStatusHasOnePath(t *testing.T) {
	forward := 0
	for current := range uint32(256) {
		for written := range uint32(512) {
			act := nextAction(current, written)
			switch {
			case written&^StatusNeedsReset == 0:
				if act != actReset {
					t.Fatalf("%#x -> %#x: %d, want reset", current, written, act)
				}
			case act == actActivate:
				if current != stateFeaturesOK || written&^StatusNeedsReset != stateDriverOK {
					t.Fatalf("%#x -> %#x activates", current, written)
				}
				forward++
			case act == actNegotiate:
				forward++
			case act == actAccept && current&^written != 0:
				if current&^written&^StatusNeedsReset != 0 {
					t.Fatalf("%#x -> %#x takes bits back", current, written)
				}
			}
		}
	}
	if forward != 4 { // two steps, each with and without DEVICE_NEEDS_RESET
		t.Errorf("%d ways to negotiate and activate, want 4", forward)
	}
}
