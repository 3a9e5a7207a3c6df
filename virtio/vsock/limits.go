package vsock

import "time"

// What one guest can make the monitor hold.
const (
	// connectionsMax bounds the connections of a guest, those that are being
	// opened or still flushed included.
	connectionsMax = 1023
	// greetingsMax bounds the host processes whose CONNECT is not answered.
	greetingsMax = 64
	// resetsMax bounds the RST replies that wait for receive buffers. With
	// that many the device takes no more packets (5.10.6.1.2).
	resetsMax = 256

	// windowSize is the buffer of one connection for bytes to the host, in
	// bytes: the buf_alloc that the guest is told (5.10.6.3). It is allocated
	// as it fills.
	windowSize = 128 << 10
	// updateAfter is how far fwd_cnt runs ahead of what the guest knows
	// before it is told: it always knows of three quarters of the window.
	updateAfter = windowSize / 4

	// readMin and readMax bound the buffer for bytes to the guest, which
	// grows when the host fills it.
	readMin = 4 << 10
	readMax = 64 << 10

	ringMin = 4 << 10
)

const (
	// greetingMax is longer than "CONNECT 4294967295\n".
	greetingMax = 32

	// portBase is the first port that host-initiated connections come from,
	// portEnd is past the last.
	portBase = 1 << 30
	portEnd  = 1 << 31
)

const (
	// greetingPatience is for the CONNECT line, and then for the guest's
	// answer.
	greetingPatience = 10 * time.Second
	// flushPatience is how long Reset waits for host processes to take the
	// last bytes of the guest.
	flushPatience = 2 * time.Second
	// acceptPause follows a failed accept, such as for lack of descriptors.
	acceptPause = 50 * time.Millisecond
)
