package vmm

import (
	"io"
	"sync"
)

// Registers of the 16550 UART (National Semiconductor PC16550D data sheet,
// table II), by offset from its base port.
const (
	uartData    = 0 // RBR/THR, or DLL with DLAB
	uartIER     = 1 // or DLM with DLAB
	uartIIR     = 2
	uartLCR     = 3
	uartMCR     = 4
	uartLSR     = 5
	uartMSR     = 6
	uartScratch = 7
	serialPorts = 8

	uartDLAB     = 1 << 7
	uartNoIRQ    = 1 << 0
	uartTHREmpty = 1 << 5
	uartTxEmpty  = 1 << 6
	uartLoopback = 1 << 4
	uartMSRReady = 0xb0 // DCD, DSR, CTS
)

// serial is the transmitting half of a 16550: enough for a console that is
// only read. It raises no interrupt; the kernel's console polls.
type serial struct {
	mu   sync.Mutex
	out  io.Writer
	regs [serialPorts]byte
	dl   [2]byte // divisor latch
}

func newSerial(out io.Writer) *serial { return &serial{out: out} }

func (s *serial) Read(offset uint64, p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(p)
	latch := s.regs[uartLCR]&uartDLAB != 0
	switch {
	case offset >= serialPorts:
	case latch && offset <= uartIER:
		p[0] = s.dl[offset]
	case offset == uartIIR:
		p[0] = uartNoIRQ
	case offset == uartLSR:
		p[0] = uartTHREmpty | uartTxEmpty
	case offset == uartMSR:
		p[0] = uartMSRReady
	case offset != uartData:
		p[0] = s.regs[offset]
	}
}

func (s *serial) Write(offset uint64, p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	latch := s.regs[uartLCR]&uartDLAB != 0
	switch {
	case offset >= serialPorts:
	case latch && offset <= uartIER:
		s.dl[offset] = p[0]
	case offset == uartData:
		if s.regs[uartMCR]&uartLoopback == 0 {
			_, _ = s.out.Write(p[:1])
		}
	default:
		s.regs[offset] = p[0]
	}
}
