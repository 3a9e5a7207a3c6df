package hostrun

import (
	"errors"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// mapper opens the device mapper. The tests that need it run in test/debianhost, too, where
// there is one.
func mapper(t *testing.T) *deviceMapper {
	t.Helper()
	if _, err := os.Stat("/dev/mapper/control"); err != nil {
		t.Skip("this host has no device mapper")
	}
	d, err := openDeviceMapper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.close)
	return d
}

func (d *deviceMapper) has(t *testing.T, name string) bool {
	t.Helper()
	r := dmRequest(listRoom)
	if err := d.ask(dmListDevices, r); err != nil {
		t.Fatal(err)
	}
	return slices.Contains(dmListed(r[dmHeader:]), name)
}

// TestDeviceMapperSweep leaves a device as a run does that is killed before it has asked for
// its removal, one that is in use, and one of somebody else with a name like ours.
func TestDeviceMapperSweep(t *testing.T) {
	d := mapper(t)
	left, _, err := d.create()
	if err != nil {
		t.Fatal(err)
	}
	used, dev, err := d.create()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.load(used, 8, "error", ""); err != nil {
		t.Fatal(err)
	}
	holder, err := openDevice(dev)
	if err != nil {
		t.Fatal(err)
	}
	others := dmNames + "of-somebody-else"
	r := dmRequest(0)
	copy(r[dmName:], others)
	if err := d.ask(dmDevCreate, r); err != nil {
		t.Fatal(err)
	}
	if !d.has(t, left) || !d.has(t, used) || !d.has(t, others) {
		t.Fatal("the devices are not there")
	}
	d.sweep()
	if d.has(t, left) || !d.has(t, used) || !d.has(t, others) {
		t.Errorf("left %v, used %v, others' %v", d.has(t, left), d.has(t, used), d.has(t, others))
	}
	if err := d.removeLater(used); err != nil {
		t.Error(err)
	}
	holder.Close()
	r = dmRequest(0)
	copy(r[dmName:], others)
	if err := d.ask(dmDevRemove, r); err != nil {
		t.Error(err)
	}
}

// TestDeviceMapperLock has a second one wait for the first.
func TestDeviceMapperLock(t *testing.T) {
	d := mapper(t)
	f, err := os.Open("/dev/mapper/control")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("lock: %v", err)
	}
	d.close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Errorf("lock after close: %v", err)
	}
}

func TestDMListed(t *testing.T) {
	entry := func(next byte, name string) []byte {
		return append([]byte{1, 0, 0, 0, 0, 0, 0, 0, next, 0, 0, 0}, name+"\x00"...)
	}
	for _, tt := range []struct {
		name string
		list []byte
		want []string
	}{
		{"nothing", make([]byte, 64), nil},
		{"too short", make([]byte, 12), nil},
		{"two", append(entry(16, "abc"), entry(0, "de")...), []string{"abc", "de"}},
		{"beyond the end", entry(200, "abc"), []string{"abc"}},
		{"to itself", entry(4, "abc"), []string{"abc"}},
	} {
		if got := dmListed(tt.list); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
