package rootfs

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

func enableVerity(f *os.File, arg *unix.FsverityEnableArg) error {
	return ioctl(f, unix.FS_IOC_ENABLE_VERITY, unsafe.Pointer(arg))
}

func measureVerity(f *os.File, answer *verityDigest) error {
	return ioctl(f, unix.FS_IOC_MEASURE_VERITY, unsafe.Pointer(answer))
}

func ioctl(f *os.File, request uintptr, arg unsafe.Pointer) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(arg))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
			continue // a large file takes a while, and Go's runtime sends signals
		}
		return errno
	}
}
