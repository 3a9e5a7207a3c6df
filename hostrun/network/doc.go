// Package network connects the network namespace of a container: by a process of the
// user's that carries its traffic (pasta). It is for tier ns, and knows
// nothing of images and trust: whether an app may have a network has been decided before.
package network
