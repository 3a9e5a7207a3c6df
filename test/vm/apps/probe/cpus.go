package main

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// cpus prints how many CPUs the process may run on, once the kernel has spread it over
// two of them.
func cpus([]string) error {
	if err := spread(); err != nil {
		return err
	}
	_, err := fmt.Println(runtime.NumCPU())
	return err
}

// spread has two threads compute, bound to no CPU, until one finds the other on another CPU
// than itself. It does not return if the kernel leaves both where they began.
func spread() error {
	var on [2]atomic.Int64 // a thread's CPU and one; 0 before it is known
	var apart atomic.Bool
	var errs [len(on)]error
	var all sync.WaitGroup
	for i := range on {
		all.Go(func() {
			runtime.LockOSThread() // and never unlocked, as below
			for !apart.Load() {
				cpu, err := currentCPU()
				if err != nil {
					errs[i] = err
					apart.Store(true)
					return
				}
				on[i].Store(int64(cpu) + 1)
				if other := on[1-i].Load(); other != 0 && other != int64(cpu)+1 {
					apart.Store(true)
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs[:]...)
}

// Thread is one that was bound to a CPU.
type Thread struct {
	CPU   int   // that it was bound to
	On    []int // CPUs that it found itself on
	Steps int   // that it made in turn with the other threads
	Error string
}

// turns is how often each thread waits for all the others.
const turns = 100

// occupyCPUs runs one thread on each CPU. They advance in turns, so that none gets to
// its end unless all do.
func occupyCPUs(n int) ([]Thread, error) {
	threads := make([]Thread, n)
	steps := make([]atomic.Int64, n)
	var failed atomic.Bool
	var all sync.WaitGroup
	for i := range threads {
		all.Go(func() {
			runtime.LockOSThread() // and never unlocked: the thread ends with its goroutine
			t := &threads[i]
			t.CPU = i
			if err := t.run(steps, &failed); err != nil {
				t.Error = err.Error()
				failed.Store(true)
			}
		})
	}
	all.Wait()
	return threads, nil
}

// run binds the thread and makes its steps.
func (t *Thread) run(steps []atomic.Int64, failed *atomic.Bool) error {
	if err := bind(t.CPU); err != nil {
		return err
	}
	seen := map[int]bool{}
	for turn := range int64(turns) {
		cpu, err := currentCPU()
		if err != nil {
			return err
		}
		if !seen[cpu] {
			seen[cpu] = true
			t.On = append(t.On, cpu)
		}
		t.Steps++
		steps[t.CPU].Store(turn + 1)
		for i := range steps {
			for steps[i].Load() <= turn && !failed.Load() {
				runtime.Gosched()
			}
		}
	}
	return nil
}

// bind binds the calling thread to a CPU.
func bind(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	return unix.SchedSetaffinity(0, &set)
}
