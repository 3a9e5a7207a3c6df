package virtio

import "math"

// readRegister gives the value of a register below RegConfig.
func (t *MMIOTransport) readRegister(offset uint64) uint32 {
	switch offset {
	case RegMagicValue:
		return MagicValue
	case RegVersion:
		return MMIOVersion
	case RegDeviceID:
		return t.device.ID()
	case RegVendorID:
		return vendorID
	case RegInterruptStatus:
		return t.interruptStatus.Load()
	case RegConfigGeneration:
		return t.configGeneration.Load()
	case RegSHMLenLow, RegSHMLenHigh, RegSHMBaseLow, RegSHMBaseHigh:
		return noSHM
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch offset {
	case RegDeviceFeatures:
		return half(t.offered, t.deviceFeaturesSel)
	case RegQueueSizeMax:
		if int64(t.queueSel) < int64(len(t.sizes)) {
			return uint32(t.sizes[t.queueSel])
		}
	case RegQueueReady:
		if q := t.queue(); q != nil && q.ready != nil {
			return 1
		}
	case RegStatus:
		if t.needsReset.Load() {
			return t.status | StatusNeedsReset
		}
		return t.status
	}
	return 0
}

// writeRegister performs a write to a register below RegConfig.
func (t *MMIOTransport) writeRegister(offset uint64, v uint32) {
	if offset == RegInterruptACK {
		t.interruptStatus.And(^v)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	switch offset {
	case RegDeviceFeaturesSel:
		t.deviceFeaturesSel = v
	case RegDriverFeaturesSel:
		t.driverFeaturesSel = v
	case RegDriverFeatures:
		// Only between DRIVER and FEATURES_OK (3.1.1 step 4).
		if t.status == stateDriver {
			t.driverFeatures = setHalf(t.driverFeatures, t.driverFeaturesSel, v)
		}
	case RegQueueSel:
		t.queueSel = v
	case RegQueueNotify:
		t.queueNotify(v)
	case RegStatus:
		t.setStatus(v)
	default:
		t.writeQueueRegister(offset, v)
	}
}

// writeQueueRegister sets up the selected queue. That is possible between
// FEATURES_OK and DRIVER_OK only (3.1.1 step 7), and a ready queue is frozen.
func (t *MMIOTransport) writeQueueRegister(offset uint64, v uint32) {
	q := t.queue()
	if q == nil || t.status != stateFeaturesOK {
		return
	}
	if offset == RegQueueReady {
		t.setQueueReady(q, v)
		return
	}
	if q.ready != nil {
		return
	}
	switch offset {
	case RegQueueSize:
		q.config.Size = 0 // a size that does not fit is refused at QueueReady
		if v <= QueueSizeMax {
			q.config.Size = uint16(v)
		}
	case RegQueueDescLow:
		q.config.Desc = setHalf(q.config.Desc, 0, v)
	case RegQueueDescHigh:
		q.config.Desc = setHalf(q.config.Desc, 1, v)
	case RegQueueDriverLow:
		q.config.Driver = setHalf(q.config.Driver, 0, v)
	case RegQueueDriverHigh:
		q.config.Driver = setHalf(q.config.Driver, 1, v)
	case RegQueueDeviceLow:
		q.config.Device = setHalf(q.config.Device, 0, v)
	case RegQueueDeviceHigh:
		q.config.Device = setHalf(q.config.Device, 1, v)
	}
}

// setQueueReady checks the queue as a whole. One that does not pass stays
// not ready, which the driver can read back.
func (t *MMIOTransport) setQueueReady(q *queueState, v uint32) {
	if v != 1 {
		q.ready = nil
		return
	}
	if q.ready != nil {
		return
	}
	ready, err := NewQueue(t.memory, q.config, t.sizes[t.queueSel], t.driverFeatures)
	if err == nil {
		q.ready = ready
	}
}

// queueNotify passes a kick on that did not go through KVM's ioeventfd. The
// eventfd's counter cannot overflow, so the write does not block.
func (t *MMIOTransport) queueNotify(index uint32) {
	if t.status == stateDriverOK && int64(index) < int64(len(t.notify)) {
		t.guard(func() error { return Kick(t.notify[index]) })
	}
}

// queue gives the selected queue, nil if there is none of that number.
func (t *MMIOTransport) queue() *queueState {
	if int64(t.queueSel) >= int64(len(t.queues)) {
		return nil
	}
	return &t.queues[t.queueSel]
}

// half gives 32 bits of v: the low ones for sel 0, the high ones for sel 1.
func half(v uint64, sel uint32) uint32 {
	if sel > 1 {
		return 0
	}
	return uint32(v >> (registerShift * sel))
}

// setHalf is v with the half that sel names replaced.
func setHalf(v uint64, sel, bits uint32) uint64 {
	if sel > 1 {
		return v
	}
	shift := registerShift * sel
	return v&^(math.MaxUint32<<shift) | uint64(bits)<<shift
}
