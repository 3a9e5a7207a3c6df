// Package seccomp makes the seccomp filter of a container: Moby's default profile,
// which docker and containerd use, for amd64 and a given set of capabilities, narrowed by
// what an appc image asks for (Restriction).
//
// The profile is a table, generated from github.com/moby/profiles by
// hack/seccomp-profile: to build it anew at each start would cost clearrun half a
// millisecond, in every tier, for names and other architectures.
package seccomp

//go:generate go run ../../hack/seccomp-profile -o profile.go --names names.go
