package pod

import "errors"

// ParseSize reads a size as docker's flags do.
func ParseSize(s string) (uint64, error) {
	return 0, errors.New("pod.ParseSize: not built yet")
}
