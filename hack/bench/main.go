// Command bench measures what a run in a VM costs, beside QEMU's microvm on the same
// machine, and one in a container, beside crun, and prints one Markdown table. It is `make bench`.
//
// Counts (instructions, exits, bytes) repeat from run to run; times do not on a
// busy machine, which is why they are given as ratios of medians of runs that
// took turns.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"
)

func main() {
	dir := pflag.String("build", "build", "folder that make build filled")
	runs := pflag.Int("runs", 15, "how often to time each start")
	out := pflag.StringP("output", "o", "build/bench.md", "also write the table here")
	ns := pflag.Bool("ns-only", false, "measure only tier ns")
	images := pflag.Bool("images-only", false, "measure only what images take")
	pflag.Parse()
	table, err := measure(*dir, *runs, *images, *ns)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	fmt.Print(table)
	if err := os.WriteFile(*out, []byte(table), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// measure runs everything in a scratch folder.
func measure(build string, runs int, imagesOnly, nsOnly bool) (string, error) {
	build, err := filepath.Abs(build)
	if err != nil {
		return "", err
	}
	scratch, err := os.MkdirTemp("", "clearrun-bench-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(scratch)
	lab := &lab{build: build, dir: scratch, clearrun: filepath.Join(build, "clearrun")}
	if err := lab.makeImage(); err != nil {
		return "", fmt.Errorf("make image: %w", err)
	}
	if nsOnly {
		c, err := lab.containers(runs)
		return c.table(), err
	}
	images, err := lab.images(max(runs/imageTurns, 1))
	if err != nil {
		return "", fmt.Errorf("images: %w", err)
	}
	if imagesOnly {
		return imageTable(images), nil
	}
	boot, err := lab.boot()
	if err != nil {
		return "", fmt.Errorf("boot: %w", err)
	}
	sizes, err := lab.sizes()
	if err != nil {
		return "", fmt.Errorf("sizes: %w", err)
	}
	start, err := lab.start(runs)
	if err != nil {
		return "", fmt.Errorf("time starts: %w", err)
	}
	containers, err := lab.containers(runs)
	if err != nil {
		return "", fmt.Errorf("containers: %w", err)
	}
	table, err := lab.table(boot, start, sizes)
	return table + "\n" + sizesTable(sizes) + "\n" + containers.table() + "\n" + imageTable(images), err
}

// imageTurns is how many starts are timed for one turn of images, which takes longer.
const imageTurns = 3
