// Package boot puts a Linux kernel into guest memory and prepares the state
// that it expects at its 64-bit entry point: the boot parameters ("zero
// page"), an MP table, page tables and the registers of the first vCPU.
//
// It is for package vmm. It starts nothing and knows no KVM ioctl.
//
// Sources: Linux Documentation/arch/x86/boot.rst ("64-bit boot protocol") and
// zero-page.rst; Intel MultiProcessor Specification 1.4, chapter 4; System V
// ABI for the ELF header.
package boot
