package main

import (
	"io"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/guest/proto"
)

var errEOF = io.EOF

// failure is an error on the way to the app, as the host will hear of it.
type failure struct {
	stage string // the part of the start that failed
	what  string // what was attempted, naming its object
	err   error
	code  uint8 // proto.ExitFailure, ExitNotExecutable or ExitNotFound
}

func (f *failure) Error() string { return f.what + ": " + f.err.Error() }

// fail says that init itself could not do its part. A nil err stays nil.
func fail(stage, what string, err error) error {
	if err == nil {
		return nil
	}
	return &failure{stage, what, err, proto.ExitFailure}
}

// report turns any error into the message for the host.
func report(err error) *proto.Failure {
	f, ok := err.(*failure) // nothing wraps one
	if !ok {
		f = &failure{"init", "internal error", err, proto.ExitFailure}
	}
	return &proto.Failure{Stage: f.stage, Message: f.Error(), ExitCode: f.code}
}

// execFailure says that the command could not be executed, with the exit code
// that docker run and the shell give.
func execFailure(command string, err error) error {
	code := uint8(proto.ExitNotExecutable)
	switch err {
	case unix.ENOENT:
		code = proto.ExitNotFound
	case unix.ENOMEM, unix.EAGAIN, unix.EMFILE:
		code = proto.ExitFailure // the fork failed, not the command
	}
	return &failure{"exec", "exec " + command, err, code}
}
