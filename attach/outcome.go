package attach

import (
	"errors"
	"strings"
	"unicode"

	"github.com/clearrun/clearrun/guest/proto"
)

// ErrGone means that PID 1 and its connections ended without a last message.
var ErrGone = errors.New("PID 1 is gone")

// Outcome is how a session ended: by one of PID 1's last messages, or with an error.
type Outcome struct {
	Exit    *proto.Exit
	Failure *proto.Failure
	Err     error // neither came
}

// Code gives the run's exit code: the app's, 0 to 255, or 128 plus the number of the
// signal that ended it; with an error, clearrun's own.
func (o Outcome) Code() (int, error) {
	switch {
	case o.Exit != nil && o.Exit.Signal != 0:
		if o.Exit.OOMKilled {
			return 128 + int(o.Exit.Signal), errors.New("the app was killed for want of memory: give it more (--memory)")
		}
		return 128 + int(o.Exit.Signal), nil
	case o.Exit != nil:
		return int(o.Exit.Code), nil
	case o.Failure != nil:
		return int(o.Failure.ExitCode), errors.New(Printable(o.Failure.Message))
	}
	return proto.ExitFailure, o.Err
}

// Printable makes the words of PID 1 fit for a terminal: nothing in them moves the
// cursor or forges a line.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}
