// Package houserules holds the rules that every file of this repository follows,
// as tests: who may import whom, what is documented, where unsafe code stands, and
// that the Makefile names only what exists.
//
// It is for go test. It looks at source text alone, so that a rule can be read
// here in the words that enforce it; what needs types is the linter's.
package houserules
