// Package bootlab makes sense of measured boots, for `clearrun boot` and `make bench`: it
// gathers runs into a Result, kept as JSON; draws it as a table for the terminal and as an
// SVG picture; compares two of them; and times other monitors beside clearrun's.
//
// It boots nothing itself: package vmrun does.
package bootlab
