// Package network connects the network namespace of a container: by a process of the
// user's that carries its traffic (pasta), or by programs that change the host's network (CNI plugins). It is for
// tier ns, and knows nothing of images and trust: whether an app may have a network has been decided before.
package network
