package main

import (
	"math"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// textAccounts are accounts of these texts; every path belongs to 5:6.
func textAccounts(passwd, group string) accounts {
	return accounts{
		read: func(path string) (string, error) {
			if path == passwdPath {
				return passwd, nil
			}
			return group, nil
		},
		owner: func(string) (uint32, uint32, error) { return 5, 6, nil },
	}
}

func TestPasswdLinesThatDoNotExist(t *testing.T) {
	for _, line := range []string{
		"", "\n", ":x:1:1::/:/bin/sh", "u:x:1:1::/", "u:x:1:1::/:/bin/sh:more", "u:x::1::/:", "u:x:1:::/:",
		"u:x:-1:1::/:", "u:x:+1:1::/:", "u:x:1_0:1::/:", "u:x:0x1:1::/:", "u:x:4294967295:1::/:", "u:x:1:4294967296::/:",
		"+::::::", "u:x: 1:1::/:",
	} {
		if e, ok := parsePasswd(line); ok {
			t.Errorf("%q is %+v", line, e)
		}
	}
	e, ok := parsePasswd("u::4294967294:0:::\n")
	if want := (passwdEntry{name: "u", uid: math.MaxUint32 - 1}); !ok || e != want {
		t.Errorf("%+v, %v, want %+v", e, ok, want)
	}
}

func TestFirstEntryCounts(t *testing.T) {
	a := textAccounts("a:x:1:2::/a:\na:x:3:4::/b:\nb:x:1:9::/c:\n", "")
	id, err := a.identify("a", "")
	if err != nil || id.uid != 1 || id.gid != 2 || id.home != "/a" {
		t.Errorf("%+v, %v", id, err)
	}
	if id, err = a.identify("1", ""); err != nil || id.gid != 2 {
		t.Errorf("by number: %+v, %v", id, err)
	}
}

func TestMissingDatabasesAreEmpty(t *testing.T) {
	a := accounts{
		read:  func(string) (string, error) { return "", unix.ENOENT },
		owner: func(string) (uint32, uint32, error) { return 0, 0, unix.ENOENT },
	}
	if id, err := a.identify("", ""); err != nil || !id.isRoot() || id.home != "/" {
		t.Errorf("root: %+v, %v", id, err)
	}
	if id, err := a.identify("7:8", ""); err != nil || id.uid != 7 || id.gid != 8 {
		t.Errorf("7:8: %+v, %v", id, err)
	}
	for _, user := range []string{"name", "7:name", "/path", ":name", "4294967295", "-1"} {
		if id, err := a.identify(user, ""); err == nil {
			t.Errorf("%q is %+v", user, id)
		}
	}
}

func TestUnreadableDatabaseIsAFailure(t *testing.T) {
	a := accounts{read: func(string) (string, error) { return "", errTooLarge }}
	if id, err := a.identify("", ""); err == nil {
		t.Errorf("identified %+v", id)
	}
}

func TestGroupsAreBounded(t *testing.T) {
	text := strings.Repeat("g:x:1:u\n", maxGroups+10)
	if n := len(groupsOf(text, "u")); n != maxGroups {
		t.Errorf("%d groups, want %d", n, maxGroups)
	}
}

// FuzzIdentify checks that no image can make PID 1 panic or run the app as
// someone whom neither the image nor the request names.
func FuzzIdentify(f *testing.F) {
	f.Add(imagePasswd, imageGroup, "www:wheel", "")
	f.Add(imagePasswd, imageGroup, "33", "web")
	f.Add("a:x:1:2::/:", "g:x:3:a,a\n", "a", "")
	f.Add("", "", "/path", "")
	f.Add(":::::::\n", ":::\n", ":", ":")
	f.Fuzz(func(t *testing.T, passwd, group, user, asGroup string) {
		id, err := textAccounts(passwd, group).identify(user, asGroup)
		if err != nil {
			if report(err).Stage != "user" {
				t.Errorf("failure without its stage: %v", err)
			}
			return
		}
		if id.uid == math.MaxUint32 || id.gid == math.MaxUint32 || slices.Contains(id.groups, math.MaxUint32) {
			t.Errorf("identity %+v holds -1", id)
		}
		if len(id.groups) > maxGroups || id.home == "" {
			t.Errorf("identity %+v", id)
		}
	})
}
