// Package hostrun runs a Pod on the host's own kernel: at tier ns in namespaces, with a
// seccomp filter and cgroup limits, at tier host as a process of the host's in a root of
// its own. PID 1 of the container is guest/init, the same program as in a VM, so that an
// app finds the same surroundings in all tiers.
//
// It decides nothing: a trust.Verdict says whether and at which tier an image runs.
// It has no daemon and keeps no state. All of a container ends with its PID 1, which
// ends with clearrun; a cgroup that a killed clearrun left is removed by the next.
package hostrun
