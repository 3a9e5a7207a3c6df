package main

import (
	"errors"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// identity is who the app runs as.
type identity struct {
	uid, gid uint32
	groups   []uint32 // supplementary
	home     string
}

// isRoot reports whether the identity is PID 1's own.
func (id *identity) isRoot() bool {
	return id.uid == 0 && id.gid == 0 && len(id.groups) == 0
}

// accounts is what identities are looked up in; the image's files in the VM.
type accounts struct {
	read func(path string) (string, error)
	// owner returns the owner of a file.
	owner func(path string) (uid, gid uint32, err error)
}

const (
	passwdPath = "/etc/passwd"
	groupPath  = "/etc/group"

	// maxGroups bounds supplementary groups: NGROUPS_MAX of limits.h.
	maxGroups = 65536
)

// imageAccounts reads the files of the app's root.
func imageAccounts() accounts {
	return accounts{readFile, func(path string) (uint32, uint32, error) {
		var st unix.Stat_t
		err := unix.Stat(path, &st)
		return st.Uid, st.Gid, err
	}}
}

// identify resolves user ("", number, name, path, each with an optional ":group") and
// group (the same without user); group wins. As in docker, the groups of
// /etc/group count only if no group is asked for.
func (a accounts) identify(user, group string) (*identity, error) {
	if !strings.HasPrefix(user, "/") {
		name, after, found := strings.Cut(user, ":")
		user = name
		if found && group == "" {
			group = after
		}
	}
	id, name, err := a.user(user)
	if err != nil {
		return nil, fail("user", "find user "+user, err)
	}
	if group != "" {
		id.gid, err = a.group(group)
		return id, fail("user", "find group "+group, err)
	}
	if name == "" {
		return id, nil
	}
	text, err := a.readOptional(groupPath)
	if err != nil {
		return nil, fail("user", "read "+groupPath, err)
	}
	id.groups = groupsOf(text, name)
	return id, nil
}

var errUnknown = errors.New("no such entry in the image")

// user resolves one user, and the name that /etc/group may list it under. A number
// need not be in /etc/passwd: it then has group 0 and home "/".
func (a accounts) user(user string) (*identity, string, error) {
	id := &identity{home: "/"}
	number, isNumber := parseID(user)
	switch {
	case user == "":
		isNumber = true
	case user[0] == '/':
		var err error
		if id.uid, id.gid, err = a.owner(user); err != nil {
			return nil, "", err
		}
		number = id.uid
	case isNumber:
		id.uid = number
	}
	text, err := a.readOptional(passwdPath)
	if err != nil {
		return nil, "", err
	}
	byNumber := isNumber || user[0] == '/'
	entry, found := findUser(text, func(e *passwdEntry) bool {
		// A name may consist of digits: it goes before the number, as in chown.
		return e.name == user && !strings.HasPrefix(user, "/")
	})
	if !found && byNumber {
		entry, found = findUser(text, func(e *passwdEntry) bool { return e.uid == number })
	}
	switch {
	case !found && !byNumber:
		return nil, "", errUnknown
	case !found:
		return id, "", nil
	}
	if entry.home != "" {
		id.home = entry.home
	}
	id.uid = entry.uid
	if !strings.HasPrefix(user, "/") {
		id.gid = entry.gid
	}
	return id, entry.name, nil
}

// group resolves one group.
func (a accounts) group(group string) (uint32, error) {
	if group[0] == '/' {
		_, gid, err := a.owner(group)
		return gid, err
	}
	text, err := a.readOptional(groupPath)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if e, ok := parseGroup(line); ok && e.name == group {
			return e.gid, nil
		}
	}
	if gid, ok := parseID(group); ok {
		return gid, nil
	}
	return 0, errUnknown
}

// readOptional reads a database; one that the image lacks is empty.
func (a accounts) readOptional(path string) (string, error) {
	text, err := a.read(path)
	if err != nil && missing(err) {
		return "", nil
	}
	return text, err
}

// passwdEntry is one line of passwd(5).
type passwdEntry struct {
	name, home string
	uid, gid   uint32
}

// findUser returns the first entry that matches.
func findUser(text string, match func(*passwdEntry) bool) (passwdEntry, bool) {
	for line := range strings.Lines(text) {
		if e, ok := parsePasswd(line); ok && match(&e) {
			return e, true
		}
	}
	return passwdEntry{}, false
}

// parsePasswd parses "name:password:uid:gid:comment:home:shell". Any other line
// does not exist.
func parsePasswd(line string) (passwdEntry, bool) {
	var field [7]string
	if !splitFields(line, field[:]) {
		return passwdEntry{}, false
	}
	uid, okUID := parseID(field[2])
	gid, okGID := parseID(field[3])
	return passwdEntry{field[0], field[5], uid, gid}, okUID && okGID
}

// groupEntry is one line of group(5).
type groupEntry struct {
	name    string
	gid     uint32
	members string // comma-separated
}

// parseGroup parses "name:password:gid:members". Any other line does not exist.
func parseGroup(line string) (groupEntry, bool) {
	var field [4]string
	if !splitFields(line, field[:]) {
		return groupEntry{}, false
	}
	gid, ok := parseID(field[2])
	return groupEntry{field[0], gid, field[3]}, ok
}

// groupsOf returns the groups that list name as a member, each once.
func groupsOf(text, name string) []uint32 {
	var groups []uint32
	for line := range strings.Lines(text) {
		e, ok := parseGroup(line)
		if !ok || len(groups) == maxGroups {
			continue
		}
		for member := range strings.SplitSeq(e.members, ",") {
			if member == name {
				groups = append(groups, e.gid)
				break
			}
		}
	}
	return groups
}

// splitFields splits a line at its colons into exactly len(field) fields, of which the
// first must not be empty.
func splitFields(line string, field []string) bool {
	rest, more := strings.TrimSuffix(line, "\n"), true
	for i := range field {
		if !more {
			return false
		}
		field[i], rest, more = strings.Cut(rest, ":")
	}
	return !more && field[0] != ""
}

// parseID parses a decimal user or group number. 2^32-1 is none: to the kernel
// it means "leave unchanged".
func parseID(s string) (uint32, bool) {
	if s == "" || s[0] == '+' || s[0] == '-' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil && n != 1<<32-1
}
