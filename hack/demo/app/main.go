// Command app is the program in the demo's image. It says where it finds itself,
// on stdout and stderr, and ends with the exit code in DEMO_EXIT.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

func main() {
	host, err := os.Hostname()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
	kernel, err := os.ReadFile("/proc/version")
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
	fmt.Println("hello from stdout")
	fmt.Println("kernel:  ", strings.TrimSpace(string(kernel)))
	fmt.Println("hostname:", host)
	fmt.Println("pid:     ", os.Getpid())
	fmt.Println("user:    ", os.Getuid())
	fmt.Println("cpus:    ", runtime.NumCPU())
	fmt.Printf("args:     %q\n", os.Args)
	fmt.Fprintln(os.Stderr, "hello from stderr")
	os.Exit(exitCode(os.Getenv("DEMO_EXIT")))
}

// exitCode reads the code to end with: 0 if nothing is asked for.
func exitCode(s string) int {
	if s == "" {
		return 0
	}
	code, err := strconv.Atoi(s)
	if err != nil || code < 0 || code > 255 {
		fmt.Fprintf(os.Stderr, "demo: DEMO_EXIT=%q is no exit code\n", s)
		return 1
	}
	return code
}
