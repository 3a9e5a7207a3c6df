package block

// Feature bits (5.2.3).
const (
	featureSizeMax  = 1 << 1
	featureSegMax   = 1 << 2
	featureReadOnly = 1 << 5
	featureBlkSize  = 1 << 6
	featureFlush    = 1 << 9
	featureTopology = 1 << 10
)

// struct virtio_blk_config, as far as the features above fill it (5.2.4):
//
//	le64 capacity;      // in sectors
//	le32 size_max;
//	le32 seg_max;
//	struct { le16 cylinders; u8 heads; u8 sectors; } geometry;
//	le32 blk_size;
//	struct { u8 physical_block_exp; u8 alignment_offset;
//	         le16 min_io_size; le32 opt_io_size; } topology;
const (
	configCapacity  = 0
	configSizeMax   = 8
	configSegMax    = 12
	configBlkSize   = 20
	configPhysExp   = 24
	configMinIOSize = 26
	configOptIOSize = 28
	configSize      = 32
)

// struct virtio_blk_req (5.2.6): { le32 type; le32 reserved; le64 sector; u8
// data[]; u8 status; }, the status alone device-writable in any case.
const (
	headerType   = 0
	headerSector = 8
	headerSize   = 16
	statusSize   = 1
)

// Request types (5.2.6).
const (
	requestIn    = 0
	requestOut   = 1
	requestFlush = 4
	requestGetID = 8
)

// Request status (5.2.6).
const (
	statusOK    = 0
	statusIOErr = 1
	statusUnsup = 2
)

const (
	sectorSize = 512
	idSize     = 20 // 5.2.6.1: zero padded, not terminated
)

const (
	queueSize = 256
	// A chain holds header and status beside its data segments.
	segMax = queueSize - 2
	// With segMax it bounds a request: Reset waits for one at most.
	segSizeMax = 128 << 10
	requestMax = segMax * segSizeMax
)
