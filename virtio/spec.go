package virtio

// Device IDs (5).
const (
	IDNet     = 1
	IDBlock   = 2
	IDConsole = 3
	IDEntropy = 4
	IDBalloon = 5
	IDVsock   = 19
)

// Device status bits (2.1).
const (
	StatusAcknowledge = 1
	StatusDriver      = 2
	StatusDriverOK    = 4
	StatusFeaturesOK  = 8
	StatusNeedsReset  = 64
	StatusFailed      = 128
)

// Feature bits that belong to ring and transport, not to a device (6). The
// transport offers exactly these on top of the device's own.
const (
	FeatureIndirectDesc = 1 << 28
	FeatureEventIdx     = 1 << 29
	FeatureVersion1     = 1 << 32

	transportFeatures = FeatureIndirectDesc | FeatureEventIdx | FeatureVersion1
)

// QueueSizeMax is the largest split ring (2.7).
const QueueSizeMax = 1 << 15

// Descriptor table (2.7.5): struct virtq_desc { le64 addr; le32 len; le16
// flags; le16 next; }.
const (
	DescSize  = 16
	DescAlign = 16

	descAddr  = 0
	descLen   = 8
	descFlags = 12
	descNext  = 14
)

// Descriptor flags (2.7.5).
const (
	DescNext     = 1
	DescWrite    = 2
	DescIndirect = 4
)

// Available ring (2.7.6): { le16 flags; le16 idx; le16 ring[size]; le16
// used_event; }.
const (
	AvailAlign = 2

	availFlags    = 0
	availIdx      = 2
	availRing     = 4
	availElemSize = 2

	AvailNoInterrupt = 1
)

// Used ring (2.7.8): { le16 flags; le16 idx; struct { le32 id; le32 len; }
// ring[size]; le16 avail_event; }.
const (
	UsedAlign = 4

	usedFlagsIdx  = 0 // flags and idx are written as one word
	usedRing      = 4
	usedElemSize  = 8
	usedElemLen   = 4
	usedIdxShift  = 16
	ringEventSize = 2

	UsedNoNotify = 1
)

// AvailSize and UsedSize are the bytes that the rings of a queue of the given
// size occupy, event fields included (2.7).
func AvailSize(size uint16) uint64 {
	return availRing + availElemSize*uint64(size) + ringEventSize
}

// UsedSize: see AvailSize.
func UsedSize(size uint16) uint64 {
	return usedRing + usedElemSize*uint64(size) + ringEventSize
}
