package virtio

// The device status as the driver drives it (3.1.1).
const (
	stateReset        = 0
	stateAcknowledged = StatusAcknowledge
	stateDriver       = stateAcknowledged | StatusDriver
	stateFeaturesOK   = stateDriver | StatusFeaturesOK
	stateDriverOK     = stateFeaturesOK | StatusDriverOK
)

// action is what a step of the driver makes the transport do.
type action uint8

const (
	actRefuse action = iota // not a step of 3.1.1: the write has no effect
	actAccept
	actNegotiate
	actActivate
	actReset
)

// nextAction tells what the driver's write of status asks for, in a device
// whose status, without DEVICE_NEEDS_RESET, is current.
func nextAction(current, written uint32) action {
	written &^= StatusNeedsReset // drivers write back what they read
	if written == stateReset {
		return actReset
	}
	if written == current || written == current|StatusFailed {
		return actAccept
	}
	// With FAILED set none of these fits: given up until reset (2.1.1).
	steps := [...]struct {
		from, to uint32
		act      action
	}{
		{stateReset, stateAcknowledged, actAccept},
		{stateAcknowledged, stateDriver, actAccept},
		{stateDriver, stateFeaturesOK, actNegotiate},
		{stateFeaturesOK, stateDriverOK, actActivate},
	}
	for _, s := range steps {
		if current == s.from && written == s.to {
			return s.act
		}
	}
	return actRefuse
}
