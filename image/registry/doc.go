// Package registry gets images from registries that speak the OCI distribution spec
// 1.1 or Docker's API, from which it came. It is the one package of images that speaks
// to a network.
//
// A Remote is an oci.Source: what comes out of it is checked by its reader. Layers are
// downloaded in parallel into files that survive a broken connection or a killed
// process, and go on where they stopped. Credentials are those of docker and podman.
package registry
