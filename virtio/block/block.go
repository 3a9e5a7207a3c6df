package block

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/clearrun/clearrun/virtio"
)

// Config describes one disk.
type Config struct {
	// Backing holds the data, and the hash tree if Verity is set. The caller
	// keeps and closes it. It must be safe for the device's own goroutine.
	Backing io.ReaderAt
	// Size of the disk in bytes, a multiple of 512. With Verity at most
	// Verity.DataBlocks blocks.
	Size uint64
	// Verity checks every read. Without it the guest gets what Backing holds.
	Verity *Verity
	// ID is what the guest sees as serial number, up to 20 bytes.
	ID string
	// OnCorrupt, optional, learns of the data block, by number, that failed
	// verification; err is a *CorruptError. The guest gets an I/O error. It
	// is called from the device's goroutine and must neither block nor close
	// the device.
	OnCorrupt func(block uint64, err error)
}

// bufferSize is the private memory through which all data goes.
const bufferSize = 128 << 10

// Device is the block device. The transport that it is given to owns it.
type Device struct {
	backing   io.ReaderAt
	size      uint64
	tree      *tree // nil without verity
	id        [idSize]byte
	onCorrupt func(uint64, error)
	config    [configSize]byte

	worker *virtio.Worker
	buffer []byte // the worker's
	header [headerSize]byte
}

var _ virtio.Device = (*Device)(nil)

// New checks the configuration. It reads nothing yet: a tree that does not
// match shows at the first read of the guest.
func New(c Config) (*Device, error) {
	d := &Device{backing: c.Backing, size: c.Size, onCorrupt: c.OnCorrupt}
	if c.Backing == nil {
		return nil, errors.New("block: no backing")
	}
	if c.Size == 0 || c.Size%sectorSize != 0 || c.Size > math.MaxInt64-blockSize {
		return nil, fmt.Errorf("block: size of %d bytes is not whole sectors", c.Size)
	}
	if len(c.ID) > idSize {
		return nil, fmt.Errorf("block: ID %q is longer than %d bytes", c.ID, idSize)
	}
	copy(d.id[:], c.ID)
	if d.onCorrupt == nil {
		d.onCorrupt = func(uint64, error) {}
	}
	if c.Verity != nil {
		var err error
		if d.tree, err = newTree(c.Backing, c.Verity); err != nil {
			return nil, fmt.Errorf("block: %w", err)
		}
		if c.Size > c.Verity.DataBlocks*blockSize {
			return nil, fmt.Errorf("block: size of %d bytes is more than the %d verified blocks", c.Size, c.Verity.DataBlocks)
		}
	}
	d.buffer = make([]byte, bufferSize)
	d.fillConfig()
	return d, nil
}

func (d *Device) fillConfig() {
	le := binary.LittleEndian
	le.PutUint64(d.config[configCapacity:], d.size/sectorSize)
	le.PutUint32(d.config[configSizeMax:], segSizeMax)
	le.PutUint32(d.config[configSegMax:], segMax)
	// Sectors stay addressable, but a whole block costs no more to verify.
	le.PutUint32(d.config[configBlkSize:], sectorSize)
	d.config[configPhysExp] = blockShift - sectorShift
	le.PutUint16(d.config[configMinIOSize:], blockSize/sectorSize)
	le.PutUint32(d.config[configOptIOSize:], bufferSize/sectorSize)
}

// ID: see virtio.Device.
func (d *Device) ID() uint32 { return virtio.IDBlock }

// Features: see virtio.Device.
func (d *Device) Features() uint64 {
	return featureSizeMax | featureSegMax | featureReadOnly | featureBlkSize | featureFlush | featureTopology
}

// QueueSizes: see virtio.Device. There is one request queue.
func (d *Device) QueueSizes() []uint16 { return []uint16{queueSize} }

// ReadConfig: see virtio.Device.
func (d *Device) ReadConfig(offset uint64, p []byte) {
	if offset < configSize {
		copy(p, d.config[offset:])
	}
}

// Activate: see virtio.Device.
func (d *Device) Activate(a virtio.Activation) error {
	d.worker = a.Serve(0, d.serve)
	return nil
}

// Reset: see virtio.Device. A request that runs is finished first.
func (d *Device) Reset() {
	d.worker.Stop()
	d.worker = nil
}

// Close: see virtio.Device. Backing stays open.
func (d *Device) Close() error {
	d.Reset()
	return nil
}
