package vsock

import "encoding/binary"

// Virtqueues (5.10.2). The event queue is for migration only (5.10.6.7), so
// nothing ever arrives in it.
const (
	queueRX    = 0
	queueTX    = 1
	queueEvent = 2
	queueCount = 3

	queueSize = 128
)

// Well-known CIDs (5.10.4).
const (
	hostCID     = 2
	guestCIDMin = 3
)

// configSize: struct virtio_vsock_config { le64 guest_cid; } (5.10.4).
const configSize = 8

// struct virtio_vsock_hdr (5.10.6):
//
//	le64 src_cid; le64 dst_cid; le32 src_port; le32 dst_port; le32 len;
//	le16 type; le16 op; le32 flags; le32 buf_alloc; le32 fwd_cnt;
const (
	offSrcCID   = 0
	offDstCID   = 8
	offSrcPort  = 16
	offDstPort  = 20
	offLen      = 24
	offType     = 28
	offOp       = 30
	offFlags    = 32
	offBufAlloc = 36
	offFwdCnt   = 40
	headerSize  = 44
)

const typeStream = 1 // 5.10.6

// Operations (5.10.6).
const (
	opRequest       = 1
	opResponse      = 2
	opReset         = 3
	opShutdown      = 4
	opData          = 5
	opCreditUpdate  = 6
	opCreditRequest = 7
)

// Flags of opShutdown (5.10.6.6): what the sender will not do any more.
const (
	shutdownReceive = 1
	shutdownSend    = 2
	shutdownBoth    = shutdownReceive | shutdownSend
)

// header is one packet's.
type header struct {
	srcCID, dstCID   uint64
	srcPort, dstPort uint32
	len              uint32
	typ, op          uint16
	flags            uint32
	bufAlloc, fwdCnt uint32
}

func decodeHeader(b *[headerSize]byte) header {
	le := binary.LittleEndian
	return header{
		srcCID: le.Uint64(b[offSrcCID:]), dstCID: le.Uint64(b[offDstCID:]),
		srcPort: le.Uint32(b[offSrcPort:]), dstPort: le.Uint32(b[offDstPort:]),
		len: le.Uint32(b[offLen:]),
		typ: le.Uint16(b[offType:]), op: le.Uint16(b[offOp:]),
		flags:    le.Uint32(b[offFlags:]),
		bufAlloc: le.Uint32(b[offBufAlloc:]), fwdCnt: le.Uint32(b[offFwdCnt:]),
	}
}

func (h *header) encode(b *[headerSize]byte) {
	le := binary.LittleEndian
	le.PutUint64(b[offSrcCID:], h.srcCID)
	le.PutUint64(b[offDstCID:], h.dstCID)
	le.PutUint32(b[offSrcPort:], h.srcPort)
	le.PutUint32(b[offDstPort:], h.dstPort)
	le.PutUint32(b[offLen:], h.len)
	le.PutUint16(b[offType:], h.typ)
	le.PutUint16(b[offOp:], h.op)
	le.PutUint32(b[offFlags:], h.flags)
	le.PutUint32(b[offBufAlloc:], h.bufAlloc)
	le.PutUint32(b[offFwdCnt:], h.fwdCnt)
}
