// Package kvm is a typed layer over the Linux KVM ioctls that clearrun's
// monitor needs: one System (/dev/kvm), one VM, its VCPUs, and the KVM_RUN
// exits decoded without allocation.
//
// The simple ioctls go through github.com/bobuhiro11/gokvm/kvm, whose
// structures match the kernel's UAPI; those it lacks or gets wrong (KVM_RUN's
// EINTR, irqfd, ioeventfd, XSAVE2, MSRs, statistics) are here.
//
// It is for package vmm and for the host check of `clearrun doctor`. It knows
// nothing of devices, guest kernels or memory layout.
//
// Source: Linux Documentation/virt/kvm/api.rst; section numbers below are its.
package kvm
