package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// kernelThreads keeps each CPU but the first busy until the kernel has made the threads
// that its softirqs and its queued work wait for, and prints the CPUs that have them. It
// does not return if the kernel leaves them unmade.
func kernelThreads([]string) error {
	runtime.LockOSThread() // and never unlocked
	var served []string
	for cpu := 1; cpu < runtime.NumCPU(); cpu++ {
		if err := bind(cpu); err != nil {
			return err
		}
		for {
			threads, err := threadNames()
			if err != nil {
				return err
			}
			if begins(threads, fmt.Sprintf("ksoftirqd/%d", cpu)) && begins(threads, fmt.Sprintf("kworker/%d:", cpu)) {
				break
			}
			time.Sleep(time.Millisecond) // a timer, and pages and inodes of /proc above
		}
		served = append(served, strconv.Itoa(cpu))
	}
	_, err := fmt.Println(strings.Join(served, " "))
	return err
}

// begins says whether one of the names does so with prefix.
func begins(names []string, prefix string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, prefix) })
}

// threadNames returns the names of all processes, kernel threads among them.
func threadNames() ([]string, error) {
	files, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return nil, err
	}
	var all []string
	for _, file := range files {
		name, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		all = append(all, string(name))
	}
	return all, nil
}
