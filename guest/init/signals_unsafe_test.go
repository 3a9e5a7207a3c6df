package main

import (
	"testing"
	"unsafe"
)

func TestSigactionMatchesTheKernel(t *testing.T) {
	var s sigaction
	if unsafe.Sizeof(s) != 32 || unsafe.Offsetof(s.mask) != 24 {
		t.Errorf("struct of %d bytes with the mask at %d, want 32 and 24", unsafe.Sizeof(s), unsafe.Offsetof(s.mask))
	}
}
