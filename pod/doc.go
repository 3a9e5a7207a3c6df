// Package pod says what is to be run, independent of the tier that runs it: the
// Verdict that permits it, the app, its root filesystem and its resources. The
// CLI opens a Pod from an image file and the user's wishes; vmrun and hostrun run
// it.
//
// Open is the one way from an image file to a Pod: it checks the signature, renders
// the root filesystem or finds it in the store, and maps the image's app. Nothing
// here starts a process, and nothing here knows the guest's protocol.
package pod
