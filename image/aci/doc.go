// Package aci reads appc's App Container Images (appc spec v0.8.11, spec/aci.md).
//
// Read takes the bytes as distributed and gives an image.Image, or refuses: it
// accepts no archive that two readers could unpack differently. It is strict with
// paths, types and duplicates, and bounded in what it unpacks. It checks no
// signatures and fetches no dependencies.
package aci
