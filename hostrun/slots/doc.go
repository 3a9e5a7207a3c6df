// Package slots shares out numbered things of a host among containers, each to one at a time,
// whatever ends their processes. What a number stands for is its users' affair.
package slots
