// Command initruntime prepares the overlay (go help build, -overlay) with which guest/init
// is built: Go's runtime for a process of one thread. Where the guest's kernel is
// emulated, each tick of the runtime's monitor thread costs thousands of
// instructions, and so does each change to another thread. PID 1 has one goroutine,
// which never waits for another one, so that nothing of this is missed.
//
// Each edit must fit exactly once; a Go release that changes these places fails the
// build, and the edits are to be looked at anew.
//
//	go run ./hack/initruntime -o build/init-runtime
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// edit replaces text in a file of the runtime.
type edit struct {
	file, old, new string
}

var edits = []edit{
	// No monitor thread: the runtime can do without one, as on wasm.
	{"proc.go", "const haveSysmon = GOARCH != \"wasm\"\n", "const haveSysmon = false\n"},
	// One processor, on however many CPUs: goroutines of the runtime need no more.
	{"proc.go", "procs = defaultGOMAXPROCS(numCPUStartup)\n", "procs = 1\n\t\tsched.customGOMAXPROCS = true\n"},
	// The main goroutine is not bound to its thread while packages are initialized: a
	// second thread would be needed for the runtime's own goroutines.
	{"proc.go", "\tlockOSThread()\n\n\tif mp != &m0 {\n", "\tif mp != &m0 {\n"},
	{"proc.go", "\tneedUnlock := true\n", "\tneedUnlock := false\n"},
	{"proc.go", "\tneedUnlock = false\n\tunlockOSThread()\n", "\tneedUnlock = false\n"},
	// Handlers for faults of the program alone, two system calls each. Other signals
	// the kernel drops for PID 1, if it has no handler.
	{"signal_unix.go", "\t\tif t.flags == 0 || t.flags&_SigDefault != 0 {\n\t\t\tcontinue\n", "\t\tif t.flags&_SigPanic == 0 {\n\t\t\tcontinue\n"},
}

// oneThread replaces guest/init/threads.go.
const oneThread = "package main\n\nconst oneThread = true\n"

func main() {
	out := flag.String("o", "", "the folder to fill; overlay.json in it is for -overlay")
	flag.Parse()
	if *out == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*out); err != nil {
		fmt.Fprintln(os.Stderr, "initruntime:", err)
		os.Exit(1)
	}
}

// run fills the folder out.
func run(out string) error {
	dir, err := runtimeSource()
	if err != nil {
		return err
	}
	files, err := apply(dir)
	if err != nil {
		return err
	}
	threads, err := filepath.Abs("guest/init/threads.go")
	if err != nil {
		return err
	}
	files[threads] = oneThread
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	replace := map[string]string{}
	for path, content := range files {
		to, err := filepath.Abs(filepath.Join(out, filepath.Base(path)+".txt")) // nothing that go list ./... would find
		if err != nil {
			return err
		}
		if err := os.WriteFile(to, []byte(content), 0o644); err != nil {
			return err
		}
		replace[path] = to
	}
	overlay, err := json.MarshalIndent(map[string]any{"Replace": replace}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "overlay.json"), overlay, 0o644)
}

// runtimeSource is where the runtime's source is.
func runtimeSource() (string, error) {
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(goroot)), "src", "runtime"), nil
}

// apply returns the edited files of the runtime in dir, by their paths.
func apply(dir string) (map[string]string, error) {
	files := map[string]string{}
	for _, e := range edits {
		path := filepath.Join(dir, e.file)
		if _, read := files[path]; !read {
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			files[path] = string(text)
		}
		if n := strings.Count(files[path], e.old); n != 1 {
			return nil, fmt.Errorf("%s has %d places like %q, want one: this Go release needs the edits of hack/initruntime looked at", path, n, e.old)
		}
		files[path] = strings.Replace(files[path], e.old, e.new, 1)
	}
	return files, nil
}
