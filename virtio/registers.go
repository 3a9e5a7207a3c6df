package virtio

// Registers of virtio-mmio version 2, by offset (4.2.2).
const (
	RegMagicValue        = 0x000 // R
	RegVersion           = 0x004 // R
	RegDeviceID          = 0x008 // R
	RegVendorID          = 0x00c // R
	RegDeviceFeatures    = 0x010 // R
	RegDeviceFeaturesSel = 0x014 // W
	RegDriverFeatures    = 0x020 // W
	RegDriverFeaturesSel = 0x024 // W
	RegQueueSel          = 0x030 // W
	RegQueueSizeMax      = 0x034 // R
	RegQueueSize         = 0x038 // W
	RegQueueReady        = 0x044 // RW
	RegQueueNotify       = 0x050 // W
	RegInterruptStatus   = 0x060 // R
	RegInterruptACK      = 0x064 // W
	RegStatus            = 0x070 // RW
	RegQueueDescLow      = 0x080 // W
	RegQueueDescHigh     = 0x084 // W
	RegQueueDriverLow    = 0x090 // W
	RegQueueDriverHigh   = 0x094 // W
	RegQueueDeviceLow    = 0x0a0 // W
	RegQueueDeviceHigh   = 0x0a4 // W
	RegSHMLenLow         = 0x0b0 // R
	RegSHMLenHigh        = 0x0b4 // R
	RegSHMBaseLow        = 0x0b8 // R
	RegSHMBaseHigh       = 0x0bc // R
	RegConfigGeneration  = 0x0fc // R
	RegConfig            = 0x100 // RW, device specific, up to MMIOSize
)

// MMIOSize is the size of the register area, one page.
const MMIOSize = 0x1000

// Values of read-only registers (4.2.2).
const (
	MagicValue  = 0x74726976 // "virt"
	MMIOVersion = 2
	vendorID    = 0x4e524c43 // "CLRN"; drivers ignore it
	noSHM       = 1<<32 - 1  // low and high half of length -1: no such region
)

// Bits of InterruptStatus and InterruptACK (4.2.2).
const (
	InterruptUsed   = 1
	InterruptConfig = 2
)

const (
	registerSize  = 4 // all below RegConfig are accessed as 32 bits (4.2.2.2)
	registerShift = 32
)
