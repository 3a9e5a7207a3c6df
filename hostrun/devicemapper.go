package hostrun

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// deviceMapper makes block devices of others (linux/dm-ioctl.h). Who has it open holds a
// lock, so that the sweep of the one does not meet the device of another that nothing
// uses yet.
type deviceMapper struct{ control *os.File }

// Requests to the device mapper, DM_LIST_DEVICES_CMD and so on.
const (
	dmListDevices = 2
	dmDevCreate   = 3
	dmDevRemove   = 4
	dmDevSuspend  = 6
	dmTableLoad   = 9
)

// Their flags.
const (
	dmReadOnly       = 1 << 0
	dmDeferredRemove = 1 << 17
)

// Offsets in struct dm_ioctl, which starts each request; what a request carries follows it.
//
//	__u32 version[3], data_size, data_start, target_count; __s32 open_count;
//	__u32 flags, event_nr, padding; __u64 dev; char name[128], uuid[129], data[7];
const (
	dmDataSize    = 12
	dmDataStart   = 16
	dmTargetCount = 20
	dmFlags       = 28
	dmDev         = 40
	dmName        = 48
	dmUUID        = 176
	dmHeader      = 312
)

// dmMinor is the first minor version of the interface 4 that removes later.
const dmMinor = 27

// The names of devices start like this, and their UUIDs, by which alone they are
// addressed, are these names behind another prefix: so that no one else's are meant.
const (
	dmNames = "clearrun-root-"
	dmUUIDs = "CLEARRUN-"
)

// openDeviceMapper waits for its lock.
func openDeviceMapper() (*deviceMapper, error) {
	f, err := os.OpenFile("/dev/mapper/control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock the device mapper: %w", err)
	}
	return &deviceMapper{f}, nil
}

func (d *deviceMapper) close() { d.control.Close() } // and with it the lock

// dmRequest is a struct dm_ioctl with room for more bytes of data.
func dmRequest(room int) []byte {
	r := make([]byte, dmHeader+room)
	binary.LittleEndian.PutUint32(r, 4)
	binary.LittleEndian.PutUint32(r[4:], dmMinor)
	binary.LittleEndian.PutUint32(r[dmDataSize:], uint32(len(r)))
	binary.LittleEndian.PutUint32(r[dmDataStart:], dmHeader)
	return r
}

// about addresses a request to one of our devices.
func about(r []byte, name string, flags uint32) []byte {
	copy(r[dmUUID:], dmUUIDs+name)
	binary.LittleEndian.PutUint32(r[dmFlags:], flags)
	return r
}

// create makes a device that has no table yet.
func (d *deviceMapper) create() (name string, dev uint64, err error) {
	name = dmNames + strings.ToLower(rand.Text())
	r := about(dmRequest(0), name, 0)
	copy(r[dmName:], name)
	if err := d.ask(dmDevCreate, r); err != nil {
		return "", 0, fmt.Errorf("make a device: %w", err)
	}
	return name, binary.LittleEndian.Uint64(r[dmDev:]), nil
}

// load gives a device a read-only table of one target, and starts it.
func (d *deviceMapper) load(name string, sectors uint64, target, parameters string) error {
	const specSize = 40 // struct dm_target_spec: __u64 sector_start, length; __s32 status; __u32 next; char target_type[16]
	r := about(dmRequest((specSize+len(parameters)+8)&^7), name, dmReadOnly)
	binary.LittleEndian.PutUint32(r[dmTargetCount:], 1)
	spec := r[dmHeader:]
	binary.LittleEndian.PutUint64(spec[8:], sectors)
	copy(spec[24:specSize], target)
	copy(spec[specSize:], parameters)
	if err := d.ask(dmTableLoad, r); err != nil {
		return fmt.Errorf("load a table of %s: %w", target, err)
	}
	if err := d.ask(dmDevSuspend, about(dmRequest(0), name, 0)); err != nil { // without DM_SUSPEND_FLAG: resume
		return fmt.Errorf("start a device: %w", err)
	}
	return nil
}

// remove removes a device that nothing uses.
func (d *deviceMapper) remove(name string) error {
	return d.ask(dmDevRemove, about(dmRequest(0), name, 0))
}

// removeLater has the kernel remove a device when nothing uses it any more, at once if
// nothing does.
func (d *deviceMapper) removeLater(name string) error {
	return d.ask(dmDevRemove, about(dmRequest(0), name, dmDeferredRemove))
}

// listRoom bounds the names of all devices of the host, in bytes. Where they are more, nothing
// is swept.
const listRoom = 1 << 16

// sweep removes what killed runs have left between create and removeLater.
func (d *deviceMapper) sweep() {
	r := dmRequest(listRoom)
	if d.ask(dmListDevices, r) != nil {
		return
	}
	for _, name := range dmListed(r[dmHeader:]) {
		if strings.HasPrefix(name, dmNames) {
			_ = d.remove(name) // EBUSY: a container's
		}
	}
}

// dmListed reads a list of struct dm_name_list: __u64 dev; __u32 next; char name[]. next
// is where the next one starts, seen from this one; 0: it is the last.
func dmListed(list []byte) (names []string) {
	const nameAt = 12
	for len(list) > nameAt {
		next := binary.LittleEndian.Uint32(list[8:])
		if name := unix.ByteSliceToString(list[nameAt:]); name != "" {
			names = append(names, name)
		}
		if next <= nameAt || uint64(next) >= uint64(len(list)) {
			break
		}
		list = list[next:]
	}
	return names
}
