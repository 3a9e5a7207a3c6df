// Package image holds what clearrun knows of a container image, whatever format
// it came in: its digest, its name, the apps it describes and the layers that
// make up its root filesystem.
//
// The readers of the formats (image/aci) build an Image; image/rootfs renders it,
// image/store keeps the result, trust decides by its name and digest, and pod
// turns its App into something to run. An Image says nothing about trust: that
// one exists means only that its bytes were well formed.
package image
