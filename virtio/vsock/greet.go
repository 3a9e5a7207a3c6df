package vsock

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

var errGreeting = errors.New("vsock: not a CONNECT line")

// greet starts the hybrid protocol with a host process. It returns false if
// there is no room for one more.
func (s *session) greet(host Caller) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.full() || s.greetings >= greetingsMax {
		return false
	}
	c := newConn(s)
	c.host, c.phase = host, phaseGreeting
	s.greetings++
	s.start(c, func() {
		if c.connectGuest(host) {
			c.relay()
		}
	})
	return true
}

// connectGuest asks the guest for the port that the host process names, and
// tells it of success.
func (c *conn) connectGuest(host Caller) bool {
	s := c.session
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.greetings--
	}()
	patience := time.NewTimer(greetingPatience)
	defer patience.Stop()
	if err := host.SetReadDeadline(time.Now().Add(greetingPatience)); err != nil {
		return false
	}
	port, err := readGreeting(host)
	if err != nil || host.SetReadDeadline(time.Time{}) != nil {
		return false
	}
	hostPort, ok := c.request(port)
	if !ok || !c.awaitResponse(patience.C) {
		return false
	}
	_, err = fmt.Fprintf(host, "OK %d\n", hostPort)
	if err != nil {
		c.giveUp()
	}
	return err == nil
}

// readGreeting reads "CONNECT <port>\n" and not a byte more: what follows is
// for the guest.
func readGreeting(host io.Reader) (port uint32, err error) {
	var line [greetingMax]byte
	for n := range line {
		if _, err := host.Read(line[n : n+1]); err != nil {
			return 0, err
		}
		if line[n] != '\n' {
			continue
		}
		digits, ok := strings.CutPrefix(string(line[:n]), "CONNECT ")
		if !ok {
			return 0, errGreeting
		}
		v, err := strconv.ParseUint(digits, 10, 32)
		return uint32(v), err
	}
	return 0, errGreeting
}

// request sends the guest a REQUEST from a port that is free.
func (c *conn) request(guestPort uint32) (hostPort uint32, ok bool) {
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return 0, false
	}
	c.key = connKey{host: s.freePort(guestPort), guest: guestPort}
	c.phase = phaseRequested
	s.conns[c.key] = c
	c.pending |= pendRequest
	c.schedule()
	s.pump()
	return c.key.host, true
}

// awaitResponse waits for the guest's RESPONSE.
func (c *conn) awaitResponse(timeout <-chan time.Time) bool {
	for {
		select {
		case <-c.readerAwake:
		case <-timeout:
			c.giveUp()
			return false
		}
		c.session.mu.Lock()
		phase, closed := c.phase, c.hostClosed
		c.session.mu.Unlock()
		if phase != phaseRequested || closed {
			return phase == phaseOpen
		}
	}
}

// giveUp ends a connection that the host process did not get.
func (c *conn) giveUp() {
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	c.abort()
	s.pump()
}
