package main

// oneThread says whether this process has but one thread, which is so in the VM: the
// build replaces this file and a few lines of Go's runtime, see hack/initruntime.
// A program with Go's ordinary runtime, as the tests are, cannot know which of
// its threads a signal is delivered to.
const oneThread = false
