package network

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
)

// resolver is where the container finds the host's name server, wherever that listens: an
// address that no network routes (RFC 3927), and podman's choice.
const resolver = "169.254.1.1"

var errNoProgram = errors.New("network user: pasta is not installed: apt install passt, or use another network")

// UserProgram is the path of the program behind the network "user".
func UserProgram() (string, error) {
	path, err := exec.LookPath("pasta")
	if err != nil {
		return "", errNoProgram
	}
	return path, nil
}

// User connects the network namespace of PID 1 to the host's network by a process without
// rights over it: the app's connections become sockets of that process. It must be called
// on a locked thread: the process ends with it.
//
// What listens on the host's loopback interface stays out of the app's reach, unless it
// may send frames of its own.
func User(ctx context.Context, pid int, ports []Port) (*Connection, error) {
	path, err := UserProgram()
	if err != nil {
		return nil, err
	}
	n, err := openNamespaces(pid)
	if err != nil {
		return nil, err
	}
	defer n.close()
	// pasta would say little of a port that it cannot have, and nothing of one of several.
	held, err := reserve(ports)
	if err != nil {
		return nil, err
	}
	held.release()
	p, err := start(ctx, pasta(path, n, ports), isNumber)
	if err != nil {
		return nil, fmt.Errorf("network user: %s: %w (it needs a host with a default route, see ip route; other networks do not)", path, err)
	}
	return &Connection{Closer: p, Resolver: resolver, process: p}, nil
}

// isNumber looks for the process's number, which pasta writes when all is set up.
func isNumber(line string) bool {
	_, err := strconv.ParseUint(line, 10, 31)
	return err == nil
}

// pasta is the command (passt(1)). It gets the namespaces as standard input and output:
// to open them by the number of PID 1, it would need that one's rights. Its other
// descriptors it closes by itself, in newer versions.
func pasta(path string, n namespaces, ports []Port) *exec.Cmd {
	cmd := exec.Command(path, "--foreground", "--quiet", "--config-net", "--pid", "/proc/self/fd/2",
		// Nothing of the host's loopback, and no ports but those asked for.
		"--no-map-gw", "-T", "none", "-U", "none",
		"--dns-forward", resolver, "--netns", "/proc/self/fd/0")
	for option, protocol := range map[string]string{"-t": "tcp", "-u": "udp"} {
		cmd.Args = append(cmd.Args, pastaPorts(option, protocol, ports)...)
	}
	cmd.Stdin = n.net
	if n.user != nil {
		cmd.Stdout = n.user
		cmd.Args = append(cmd.Args, "--userns", "/proc/self/fd/1")
	}
	if os.Geteuid() == 0 {
		// As the user nobody it could neither enter the namespaces nor, on some hosts,
		// open /dev/net/tun. It keeps rights over the namespaces' owner alone.
		cmd.Args = append(cmd.Args, "--runas", "0:0")
	}
	return cmd
}

// pastaPorts are the options for the ports of one protocol.
func pastaPorts(option, protocol string, ports []Port) (args []string) {
	for _, p := range ports {
		if p.Protocol != protocol {
			continue
		}
		last := p.Count - 1
		spec := fmt.Sprintf("%d-%d:%d-%d", p.HostPort, int(p.HostPort)+last, p.Port, int(p.Port)+last)
		if p.Host.IsValid() {
			spec = p.Host.String() + "/" + spec
		}
		args = append(args, option, spec)
	}
	if len(args) == 0 {
		return []string{option, "none"}
	}
	return args
}
