// Package store keeps rendered root filesystems by the digest of their image, so
// that an image is unpacked once. It is a cache: deleting any of it costs time only.
//
// A run believes nothing here unseen. Every record carries an HMAC under a key kept
// outside of the store, every hash tree is checked against its record when an entry
// is opened, and the blocks themselves against the tree when the VM reads them. What
// was changed since it was written is refused by name, not used.
package store
