// Package oci reads images of the OCI image format 1.1, and of Docker's format from
// which it came: from a layout folder, from a layout in a tar, from what docker save
// writes, or from any other Source, such as a registry.
//
// Resolve finds the one manifest that a reference means on this platform, Artifact.Read
// its layers. Every byte is checked against a digest and a size that the bytes before
// named, up to the manifest's own digest, which package trust decides about. The
// package judges no signatures, only finds them, and speaks to no network.
package oci
