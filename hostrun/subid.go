package hostrun

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"

	"github.com/clearrun/clearrun/pod"
)

// idRange is a row of an ID map (user_namespaces(7)): count IDs from inside on are those of
// the host from outside on.
type idRange struct{ inside, outside, count uint32 }

// idMaps are the maps of a rootless container's user namespace.
type idMaps struct {
	uids, gids []idRange
	// count is how many IDs from 0 on both maps have.
	count uint32
}

// Where an administrator gives users ranges of IDs (subuid(5), subgid(5)), and how many of
// them a container gets at most: those that images know.
const (
	subuidPath = "/etc/subuid"
	subgidPath = "/etc/subgid"
	maxSubIDs  = 65536
)

// mapHelpers write maps that a user may not (newuidmap(1), newgidmap(1)).
var mapHelpers = [...]string{"newuidmap", "newgidmap"}

// userMaps are those of who runs this: root inside is the user, the others are of the
// user's ranges. Without ranges or the programs for them, root is alone.
func userMaps() (idMaps, error) {
	uid, gid := uint32(os.Geteuid()), uint32(os.Getegid())
	single := idMaps{uids: []idRange{{0, uid, 1}}, gids: []idRange{{0, gid, 1}}, count: 1}
	for _, helper := range mapHelpers {
		if _, err := exec.LookPath(helper); err != nil {
			return single, nil
		}
	}
	names := []string{strconv.Itoa(int(uid))}
	if u, err := user.LookupId(names[0]); err == nil {
		names = append(names, u.Username)
	}
	uids, err := subIDs(subuidPath, names)
	if err != nil {
		return single, err
	}
	gids, err := subIDs(subgidPath, names)
	if err != nil {
		return single, err
	}
	if len(uids) == 0 || len(gids) == 0 {
		return single, nil
	}
	maps := idMaps{uids: append(single.uids, uids...), gids: append(single.gids, gids...)}
	maps.count = min(countIDs(maps.uids), countIDs(maps.gids))
	return maps, nil
}

// userNamespace is the report's entry about who root of the container is.
const userNamespace = "user-namespace"

// enforcement is the report's entry about a rootless run.
func (m idMaps) enforcement() pod.Enforcement {
	e := pod.Enforcement{Name: userNamespace, State: pod.Enforced}
	e.Detail = fmt.Sprintf("root is user %d, who runs this, and %d more IDs are of that user's ranges", m.uids[0].outside, m.count-1)
	if m.count == 1 {
		e.State = pod.Adjusted
		e.Detail = fmt.Sprintf("root is user %d, who runs this and has no ranges of IDs (subuid(5), newuidmap(1)): all files of the image are root's, "+
			"no app can run as another user, and the user's groups stay", m.uids[0].outside)
	}
	return e
}

func countIDs(ranges []idRange) (n uint32) {
	for _, r := range ranges {
		n += r.count
	}
	return n
}

// subIDs reads the ranges of a user, who may be listed by name or number, as those from 1 on.
func subIDs(path string, names []string) ([]idRange, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseSubIDs(string(data), names), nil
}

// parseSubIDs takes lines of NAME:START:COUNT, and passes over what is none. newuidmap holds
// against them what it is asked for.
func parseSubIDs(text string, names []string) (ranges []idRange) {
	next, left := uint32(1), uint32(maxSubIDs)
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) != 3 || f[0] != names[0] && f[0] != names[len(names)-1] {
			continue
		}
		start, err1 := strconv.ParseUint(f[1], 10, 32)
		count, err2 := strconv.ParseUint(f[2], 10, 32)
		if err1 != nil || err2 != nil || start == 0 || start+count > 1<<32-1 {
			continue
		}
		n := min(uint32(count), left)
		if n == 0 {
			continue
		}
		ranges = append(ranges, idRange{next, uint32(start), n})
		next, left = next+n, left-n
	}
	return ranges
}

// write has the helpers write the maps of a process.
func (m idMaps) write(pid int) error {
	for i, ranges := range [][]idRange{m.uids, m.gids} {
		args := []string{strconv.Itoa(pid)}
		for _, r := range ranges {
			for _, n := range []uint32{r.inside, r.outside, r.count} {
				args = append(args, strconv.FormatUint(uint64(n), 10))
			}
		}
		out, err := exec.Command(mapHelpers[i], args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("map the ranges of %s and %s: %s: %w: %s: have them and the program's set-user-ID bit or file capabilities mended, or the ranges removed to run with your own ID alone",
				subuidPath, subgidPath, mapHelpers[i], err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}
