// Package virtiotest is the driver's half of virtio, for tests: it finds a
// device through its registers, builds rings in real guest memory and waits
// for interrupts, as the Linux driver does, or breaks the rules where a test
// asks for it.
//
// Driver and Queue play the honest guest; their Store, SetDesc and Publish are
// the raw access of a hostile one. Suite holds what every device must survive.
// The package is for the tests of package virtio and its devices only.
package virtiotest
