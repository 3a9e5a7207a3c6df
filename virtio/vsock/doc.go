// Package vsock is an emulated virtio socket device (5.10): it joins stream
// sockets of the guest with stream sockets of the host, without any kernel
// module on the host.
//
// A guest that connects to CID 2 gets what Config.Dial opens for the port. A
// host process that wants a port of the guest connects to Config.Listener and
// says "CONNECT <port>\n"; once the guest has accepted it reads
// "OK <host port>\n", and from there on its socket is the guest's (the hybrid
// protocol that Firecracker introduced).
//
// The state of one driver, from DRIVER_OK to reset, is a session; it owns
// connections, each with one goroutine per direction. All of it, rings
// included, is guarded by the session's mutex, which is never held across
// input or output of the host: a slow host process, or a guest that does not
// read, stops its own connection only. Buffers, connections and replies that
// wait are bounded.
//
// There are no datagrams and no SEQPACKET, and the guest reaches no CID but
// the host's.
//
// Source: VIRTIO 1.3, 5.10.
package vsock
