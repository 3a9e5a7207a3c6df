// Package proto is the language that clearrun's host side and PID 1 of its VM
// (guest/init) speak over vsock.
//
// The guest dials the host: first ControlPort, then one stream per standard
// descriptor that Start asks for. On the control connection the host sends one
// Start, then any number of Signal and Resize; the guest answers with Started
// once the app has been executed and ends with Exit, or sends one Failure in
// place of either. The host closes the connection when it has read the
// last message and the streams to their ends; the guest then powers off.
//
// A frame is a 4-byte big-endian length and that many bytes: the protocol
// version, the message's kind and its fields in the order of its fields method.
// Integers are big-endian; a string or a list is a 32-bit count and its
// elements. Both ends come from one build, so a frame that does not match to
// the last byte is refused rather than interpreted.
//
// Why not JSON: encoding/json alone adds 0.4 MB to PID 1, every page of which
// may be a page fault at each start, and a JSON string cannot carry
// an argument that is not UTF-8.
//
// The package holds no transport: it reads and writes whatever it is given.
package proto
