// Package attach connects the user's streams, signals and terminal to the PID 1 of an
// app: what the runners of all tiers have in common. How the connections come about
// is theirs: by vsock out of a VM, by socket pairs into a container.
package attach
