package hostrun

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// dmRequestCode is _IOWR(DM_IOCTL, 0, struct dm_ioctl); the request's number is added.
const dmRequestCode = 3<<30 | dmHeader<<16 | 0xfd<<8

// ask makes a request, and writes the answer over it.
func (d *deviceMapper) ask(number uintptr, request []byte) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, d.control.Fd(), dmRequestCode+number, uintptr(unsafe.Pointer(&request[0])))
	if errno != 0 {
		return errno
	}
	return nil
}
