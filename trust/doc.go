// Package trust decides whether an image may run, and at which isolation. It keeps
// the trusted keys, checks signatures over the image's bytes as distributed, and
// mints the Verdict that every runner asks for.
//
// It fetches nothing and knows no formats of images, only those of signatures: the caller brings
// the bytes, the image's name and its digest.
package trust
