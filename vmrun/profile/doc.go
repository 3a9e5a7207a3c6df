// Package profile turns samples of a guest's vCPUs into a profile in pprof's format: for
// kernel developers who want to see which functions a start spends its instructions in.
//
// It knows the kernel's functions from System.map or from the symbols of a vmlinux. It
// does not unwind stacks: a sample is the function that it was taken in.
package profile
