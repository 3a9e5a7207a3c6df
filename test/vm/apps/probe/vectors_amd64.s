#include "go_asm.h"
#include "textflag.h"

// The loads and stores below address the registers of a struct registers, at SI and
// DI. Its vectors lie registerSize bytes apart, whatever part of each is in use.

#define LOAD_XMM \
	MOVOU (0*const_registerSize)(SI), X0; \
	MOVOU (1*const_registerSize)(SI), X1; \
	MOVOU (2*const_registerSize)(SI), X2; \
	MOVOU (3*const_registerSize)(SI), X3; \
	MOVOU (4*const_registerSize)(SI), X4; \
	MOVOU (5*const_registerSize)(SI), X5; \
	MOVOU (6*const_registerSize)(SI), X6; \
	MOVOU (7*const_registerSize)(SI), X7; \
	MOVOU (8*const_registerSize)(SI), X8; \
	MOVOU (9*const_registerSize)(SI), X9; \
	MOVOU (10*const_registerSize)(SI), X10; \
	MOVOU (11*const_registerSize)(SI), X11; \
	MOVOU (12*const_registerSize)(SI), X12; \
	MOVOU (13*const_registerSize)(SI), X13; \
	MOVOU (14*const_registerSize)(SI), X14; \
	MOVOU (15*const_registerSize)(SI), X15

#define LOAD_YMM \
	VMOVDQU (0*const_registerSize)(SI), Y0; \
	VMOVDQU (1*const_registerSize)(SI), Y1; \
	VMOVDQU (2*const_registerSize)(SI), Y2; \
	VMOVDQU (3*const_registerSize)(SI), Y3; \
	VMOVDQU (4*const_registerSize)(SI), Y4; \
	VMOVDQU (5*const_registerSize)(SI), Y5; \
	VMOVDQU (6*const_registerSize)(SI), Y6; \
	VMOVDQU (7*const_registerSize)(SI), Y7; \
	VMOVDQU (8*const_registerSize)(SI), Y8; \
	VMOVDQU (9*const_registerSize)(SI), Y9; \
	VMOVDQU (10*const_registerSize)(SI), Y10; \
	VMOVDQU (11*const_registerSize)(SI), Y11; \
	VMOVDQU (12*const_registerSize)(SI), Y12; \
	VMOVDQU (13*const_registerSize)(SI), Y13; \
	VMOVDQU (14*const_registerSize)(SI), Y14; \
	VMOVDQU (15*const_registerSize)(SI), Y15

#define LOAD_ZMM \
	VMOVDQU64 (0*const_registerSize)(SI), Z0; \
	VMOVDQU64 (1*const_registerSize)(SI), Z1; \
	VMOVDQU64 (2*const_registerSize)(SI), Z2; \
	VMOVDQU64 (3*const_registerSize)(SI), Z3; \
	VMOVDQU64 (4*const_registerSize)(SI), Z4; \
	VMOVDQU64 (5*const_registerSize)(SI), Z5; \
	VMOVDQU64 (6*const_registerSize)(SI), Z6; \
	VMOVDQU64 (7*const_registerSize)(SI), Z7; \
	VMOVDQU64 (8*const_registerSize)(SI), Z8; \
	VMOVDQU64 (9*const_registerSize)(SI), Z9; \
	VMOVDQU64 (10*const_registerSize)(SI), Z10; \
	VMOVDQU64 (11*const_registerSize)(SI), Z11; \
	VMOVDQU64 (12*const_registerSize)(SI), Z12; \
	VMOVDQU64 (13*const_registerSize)(SI), Z13; \
	VMOVDQU64 (14*const_registerSize)(SI), Z14; \
	VMOVDQU64 (15*const_registerSize)(SI), Z15; \
	VMOVDQU64 (16*const_registerSize)(SI), Z16; \
	VMOVDQU64 (17*const_registerSize)(SI), Z17; \
	VMOVDQU64 (18*const_registerSize)(SI), Z18; \
	VMOVDQU64 (19*const_registerSize)(SI), Z19; \
	VMOVDQU64 (20*const_registerSize)(SI), Z20; \
	VMOVDQU64 (21*const_registerSize)(SI), Z21; \
	VMOVDQU64 (22*const_registerSize)(SI), Z22; \
	VMOVDQU64 (23*const_registerSize)(SI), Z23; \
	VMOVDQU64 (24*const_registerSize)(SI), Z24; \
	VMOVDQU64 (25*const_registerSize)(SI), Z25; \
	VMOVDQU64 (26*const_registerSize)(SI), Z26; \
	VMOVDQU64 (27*const_registerSize)(SI), Z27; \
	VMOVDQU64 (28*const_registerSize)(SI), Z28; \
	VMOVDQU64 (29*const_registerSize)(SI), Z29; \
	VMOVDQU64 (30*const_registerSize)(SI), Z30; \
	VMOVDQU64 (31*const_registerSize)(SI), Z31

#define LOAD_MASKS \
	KMOVQ (registers_masks+0*8)(SI), K0; \
	KMOVQ (registers_masks+1*8)(SI), K1; \
	KMOVQ (registers_masks+2*8)(SI), K2; \
	KMOVQ (registers_masks+3*8)(SI), K3; \
	KMOVQ (registers_masks+4*8)(SI), K4; \
	KMOVQ (registers_masks+5*8)(SI), K5; \
	KMOVQ (registers_masks+6*8)(SI), K6; \
	KMOVQ (registers_masks+7*8)(SI), K7

#define STORE_XMM \
	MOVOU X0, (0*const_registerSize)(DI); \
	MOVOU X1, (1*const_registerSize)(DI); \
	MOVOU X2, (2*const_registerSize)(DI); \
	MOVOU X3, (3*const_registerSize)(DI); \
	MOVOU X4, (4*const_registerSize)(DI); \
	MOVOU X5, (5*const_registerSize)(DI); \
	MOVOU X6, (6*const_registerSize)(DI); \
	MOVOU X7, (7*const_registerSize)(DI); \
	MOVOU X8, (8*const_registerSize)(DI); \
	MOVOU X9, (9*const_registerSize)(DI); \
	MOVOU X10, (10*const_registerSize)(DI); \
	MOVOU X11, (11*const_registerSize)(DI); \
	MOVOU X12, (12*const_registerSize)(DI); \
	MOVOU X13, (13*const_registerSize)(DI); \
	MOVOU X14, (14*const_registerSize)(DI); \
	MOVOU X15, (15*const_registerSize)(DI)

#define STORE_YMM \
	VMOVDQU Y0, (0*const_registerSize)(DI); \
	VMOVDQU Y1, (1*const_registerSize)(DI); \
	VMOVDQU Y2, (2*const_registerSize)(DI); \
	VMOVDQU Y3, (3*const_registerSize)(DI); \
	VMOVDQU Y4, (4*const_registerSize)(DI); \
	VMOVDQU Y5, (5*const_registerSize)(DI); \
	VMOVDQU Y6, (6*const_registerSize)(DI); \
	VMOVDQU Y7, (7*const_registerSize)(DI); \
	VMOVDQU Y8, (8*const_registerSize)(DI); \
	VMOVDQU Y9, (9*const_registerSize)(DI); \
	VMOVDQU Y10, (10*const_registerSize)(DI); \
	VMOVDQU Y11, (11*const_registerSize)(DI); \
	VMOVDQU Y12, (12*const_registerSize)(DI); \
	VMOVDQU Y13, (13*const_registerSize)(DI); \
	VMOVDQU Y14, (14*const_registerSize)(DI); \
	VMOVDQU Y15, (15*const_registerSize)(DI)

#define STORE_ZMM \
	VMOVDQU64 Z0, (0*const_registerSize)(DI); \
	VMOVDQU64 Z1, (1*const_registerSize)(DI); \
	VMOVDQU64 Z2, (2*const_registerSize)(DI); \
	VMOVDQU64 Z3, (3*const_registerSize)(DI); \
	VMOVDQU64 Z4, (4*const_registerSize)(DI); \
	VMOVDQU64 Z5, (5*const_registerSize)(DI); \
	VMOVDQU64 Z6, (6*const_registerSize)(DI); \
	VMOVDQU64 Z7, (7*const_registerSize)(DI); \
	VMOVDQU64 Z8, (8*const_registerSize)(DI); \
	VMOVDQU64 Z9, (9*const_registerSize)(DI); \
	VMOVDQU64 Z10, (10*const_registerSize)(DI); \
	VMOVDQU64 Z11, (11*const_registerSize)(DI); \
	VMOVDQU64 Z12, (12*const_registerSize)(DI); \
	VMOVDQU64 Z13, (13*const_registerSize)(DI); \
	VMOVDQU64 Z14, (14*const_registerSize)(DI); \
	VMOVDQU64 Z15, (15*const_registerSize)(DI); \
	VMOVDQU64 Z16, (16*const_registerSize)(DI); \
	VMOVDQU64 Z17, (17*const_registerSize)(DI); \
	VMOVDQU64 Z18, (18*const_registerSize)(DI); \
	VMOVDQU64 Z19, (19*const_registerSize)(DI); \
	VMOVDQU64 Z20, (20*const_registerSize)(DI); \
	VMOVDQU64 Z21, (21*const_registerSize)(DI); \
	VMOVDQU64 Z22, (22*const_registerSize)(DI); \
	VMOVDQU64 Z23, (23*const_registerSize)(DI); \
	VMOVDQU64 Z24, (24*const_registerSize)(DI); \
	VMOVDQU64 Z25, (25*const_registerSize)(DI); \
	VMOVDQU64 Z26, (26*const_registerSize)(DI); \
	VMOVDQU64 Z27, (27*const_registerSize)(DI); \
	VMOVDQU64 Z28, (28*const_registerSize)(DI); \
	VMOVDQU64 Z29, (29*const_registerSize)(DI); \
	VMOVDQU64 Z30, (30*const_registerSize)(DI); \
	VMOVDQU64 Z31, (31*const_registerSize)(DI)

#define STORE_MASKS \
	KMOVQ K0, (registers_masks+0*8)(DI); \
	KMOVQ K1, (registers_masks+1*8)(DI); \
	KMOVQ K2, (registers_masks+2*8)(DI); \
	KMOVQ K3, (registers_masks+3*8)(DI); \
	KMOVQ K4, (registers_masks+4*8)(DI); \
	KMOVQ K5, (registers_masks+5*8)(DI); \
	KMOVQ K6, (registers_masks+6*8)(DI); \
	KMOVQ K7, (registers_masks+7*8)(DI)

// func hold(h *holding)
//
// R12 is h, R13 the number of rounds done, BX the number of calls done in this
// round. SYSCALL itself changes RAX, RCX and R11; nothing else may touch the vectors
// between the loads and the end.
TEXT ·hold(SB), NOSPLIT, $8-8
	MOVQ h+0(FP), R12
	XORQ R13, R13
	STMXCSR mxcsr-8(SP)
	LEAQ holding_load(R12), SI
	LDMXCSR registers_mxcsr(SI)
	CMPQ holding_width(R12), $const_widthZMM
	JEQ  loadZMM
	CMPQ holding_width(R12), $const_widthYMM
	JEQ  loadYMM
	LOAD_XMM
	JMP  round
loadYMM:
	LOAD_YMM
	JMP  loaded
loadZMM:
	LOAD_ZMM
	LOAD_MASKS
loaded:
	CMPQ holding_upperUnused(R12), $0
	JEQ  round
	VZEROUPPER

round:
	XORQ BX, BX
nextCall:
	CMPQ BX, holding_callCount(R12)
	JGE  spin
	IMUL3Q $call__size, BX, R8
	LEAQ holding_calls(R12)(R8*1), R8
	MOVQ call_number(R8), AX
	MOVQ (call_args+0)(R8), DI
	MOVQ (call_args+8)(R8), SI
	MOVQ (call_args+16)(R8), DX
	SYSCALL
	CMPQ AX, $const_interrupted
	JEQ  nextCall
	CMPQ AX, call_want(R8)
	JNE  callFailed
	INCQ BX
	JMP  nextCall

spin:
	MOVQ holding_spins(R12), CX
spinning:
	SUBQ $1, CX
	JGT  spinning

	LEAQ holding_seen(R12), DI
	STMXCSR registers_mxcsr(DI)
	CMPQ holding_width(R12), $const_widthZMM
	JEQ  storeZMM
	CMPQ holding_width(R12), $const_widthYMM
	JEQ  storeYMM
	STORE_XMM
	JMP  compare
storeYMM:
	STORE_YMM
	JMP  compare
storeZMM:
	STORE_ZMM
	STORE_MASKS
compare:
	LEAQ holding_want(R12), SI
	MOVQ $registers__size, CX
	CLD
	REP; CMPSB
	JNE  done
	INCQ R13
	CMPQ R13, holding_rounds(R12)
	JLT  round
	JMP  done

callFailed:
	MOVQ AX, holding_result(R12)
	MOVQ $1, holding_callFailed(R12)
done:
	MOVQ R13, holding_done(R12)
	LDMXCSR mxcsr-8(SP)
	CMPQ holding_width(R12), $const_widthXMM
	JEQ  return
	VZEROUPPER
return:
	RET

// func wipe()
//
// A signal handler, called by the kernel: it leaves nothing of the vectors, and
// counts itself in wipes. Its caller's registers come back with rt_sigreturn.
TEXT ·wipe(SB), NOSPLIT|NOFRAME, $0
	LOCK
	INCQ ·wipes(SB)
	XORPS X0, X0
	XORPS X1, X1
	XORPS X2, X2
	XORPS X3, X3
	XORPS X4, X4
	XORPS X5, X5
	XORPS X6, X6
	XORPS X7, X7
	XORPS X8, X8
	XORPS X9, X9
	XORPS X10, X10
	XORPS X11, X11
	XORPS X12, X12
	XORPS X13, X13
	XORPS X14, X14
	XORPS X15, X15
	CMPQ ·vectorWidth(SB), $const_widthXMM
	JEQ  wiped
	VZEROALL
	CMPQ ·vectorWidth(SB), $const_widthYMM
	JEQ  wiped
	VPXORQ Z16, Z16, Z16
	VPXORQ Z17, Z17, Z17
	VPXORQ Z18, Z18, Z18
	VPXORQ Z19, Z19, Z19
	VPXORQ Z20, Z20, Z20
	VPXORQ Z21, Z21, Z21
	VPXORQ Z22, Z22, Z22
	VPXORQ Z23, Z23, Z23
	VPXORQ Z24, Z24, Z24
	VPXORQ Z25, Z25, Z25
	VPXORQ Z26, Z26, Z26
	VPXORQ Z27, Z27, Z27
	VPXORQ Z28, Z28, Z28
	VPXORQ Z29, Z29, Z29
	VPXORQ Z30, Z30, Z30
	VPXORQ Z31, Z31, Z31
	KXORQ K0, K0, K0
	KXORQ K1, K1, K1
	KXORQ K2, K2, K2
	KXORQ K3, K3, K3
	KXORQ K4, K4, K4
	KXORQ K5, K5, K5
	KXORQ K6, K6, K6
	KXORQ K7, K7, K7
wiped:
	RET

// func restore()
//
// Where wipe returns to: the end of a signal (sigreturn(2)).
TEXT ·restore(SB), NOSPLIT|NOFRAME, $0
	MOVQ $const_callSigreturn, AX
	SYSCALL
	INT  $3

// func handlers() (wipe, restore uintptr)
TEXT ·handlers(SB), NOSPLIT, $0-16
	LEAQ ·wipe(SB), AX
	MOVQ AX, wipe+0(FP)
	LEAQ ·restore(SB), AX
	MOVQ AX, restore+8(FP)
	RET
