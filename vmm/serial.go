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
	uartIERTHRE  = 1 << 1 // transmitter holding register empty
	uartIIRTHRE  = 1 << 1
	uartNoIRQ    = 1 << 0
	uartTHREmpty = 1 << 5
	uartTxEmpty  = 1 << 6
	uartLoopback = 1 << 4
	uartMSRReady = 0xb0 // DCD, DSR, CTS
)

// serial is the transmitting half of a 16550: enough for a console that is
// only read. The kernel's own console polls; what processes write waits for the interrupt
// that says that the transmitter is empty, the only one here.
type serial struct {
	mu      sync.Mutex
	out     io.Writer
	raise   func() // the interrupt, edge triggered; nil: there is none
	pending bool   // the transmitter's interrupt, until IIR is read
	regs    [serialPorts]byte
	dl      [2]byte // divisor latch
}

func newSerial(out io.Writer, raise func()) *serial { return &serial{out: out, raise: raise} }

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
		if s.pending {
			p[0], s.pending = uartIIRTHRE, false
		}
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
		s.transmitted()
	case offset == uartIER:
		asked := p[0]&^s.regs[uartIER]&uartIERTHRE != 0
		s.regs[uartIER] = p[0]
		if asked {
			s.transmitted()
		}
	default:
		s.regs[offset] = p[0]
	}
}

// transmitted tells of the empty transmitter, if that was asked for. A byte is sent as
// soon as it is written, so it is always empty.
func (s *serial) transmitted() {
	s.pending = s.raise != nil && s.regs[uartIER]&uartIERTHRE != 0
	if s.pending {
		s.raise()
	}
}
