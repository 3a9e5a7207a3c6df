// Package label gives each container and each VM monitor an SELinux label that no other
// live one has: the types that the host's policy has for it, and a pair of categories of
// its own (sVirt; "MCS separation"). The pairs come from an allocator of the host, see
// Pool. It asks the kernel and the policy's contexts files, and enforces nothing itself.
package label
