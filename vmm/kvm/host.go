package kvm

import "os"

// Host is the kind of virtualization that a KVM rests on.
type Host int

// The kinds of hosts; the zero value is one that could not be told.
const (
	UnknownHost Host = iota
	VMX              // Intel VT-x
	SVM              // AMD-V
	PVM              // no hardware support: guest kernel mode is emulated
)

// String is the name that doctor prints.
func (h Host) String() string {
	return [...]string{"unknown", "VMX (Intel VT-x)", "SVM (AMD-V)", "PVM (software)"}[h]
}

// DetectHost looks at which KVM module serves /dev/kvm; sysModule is
// /sys/module.
func DetectHost(sysModule string) Host {
	for _, m := range []struct {
		name string
		host Host
	}{{"kvm_intel", VMX}, {"kvm_amd", SVM}, {"kvm_pvm", PVM}} {
		if _, err := os.Stat(sysModule + "/" + m.name); err == nil {
			return m.host
		}
	}
	return UnknownHost
}
