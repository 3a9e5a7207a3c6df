package pod

import "github.com/clearrun/clearrun/image"

// ParseSize is image.ParseSize: a size in bytes as docker's flags write it.
func ParseSize(s string) (uint64, error) { return image.ParseSize(s) }

// FormatSize is image.FormatSize.
func FormatSize(n uint64) string { return image.FormatSize(n) }
