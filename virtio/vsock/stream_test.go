package vsock

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"github.com/clearrun/clearrun/virtio"
	"github.com/clearrun/clearrun/virtio/virtiotest"
)

// source gives total bytes of a pseudo-random stream in random pieces.
type source struct {
	rnd   *rand.ChaCha8
	sizes *rand.Rand
	left  int
}

func newSource(seed byte, total int) *source {
	return &source{rnd: rand.NewChaCha8([32]byte{seed}), sizes: rand.New(rand.NewPCG(uint64(seed), 0)), left: total}
}

// copyTo writes the stream to w.
func (s *source) copyTo(w io.Writer) error {
	for s.left > 0 {
		p := make([]byte, min(s.left, 1+s.sizes.IntN(100_000)))
		s.rnd.Read(p)
		if _, err := w.Write(p); err != nil {
			return err
		}
		s.left -= len(p)
	}
	return nil
}

// compare reads r in random pieces until it has the whole stream.
func (s *source) compare(r io.Reader) error {
	for s.left > 0 {
		got := make([]byte, min(s.left, 1+s.sizes.IntN(50_000)))
		if _, err := io.ReadFull(r, got); err != nil {
			return fmt.Errorf("%d bytes before the end: %w", s.left, err)
		}
		want := make([]byte, len(got))
		s.rnd.Read(want)
		if !bytes.Equal(got, want) {
			return fmt.Errorf("%d bytes before the end: wrong bytes", s.left)
		}
		s.left -= len(got)
	}
	return nil
}

// transfer moves total bytes each way at once.
func transfer(t *testing.T, s *socket, host *net.UnixConn, seed byte, total int) {
	t.Helper()
	var all sync.WaitGroup
	for _, move := range []func() error{
		func() error { return newSource(seed, total).copyTo(s) },
		func() error { return newSource(seed, total).compare(host) },
		func() error { return newSource(seed+100, total).copyTo(host) },
		func() error { return newSource(seed+100, total).compare(s) },
	} {
		all.Go(func() {
			if err := move(); err != nil {
				t.Errorf("transfer %d: %v", seed, err)
			}
		})
	}
	all.Wait()
}

func TestBulkBothWays(t *testing.T) {
	cases := []struct {
		name        string
		features    uint64
		buffers     int
		connections int
		total       int
	}{
		{"one connection", virtiotest.AllFeatures, queueSize, 1, 10 << 20},
		{"without event index", virtiotest.AllFeatures &^ virtio.FeatureEventIdx, 64, 1, 10 << 20},
		{"few buffers", virtiotest.AllFeatures, 2, 1, 1 << 20},
		{"many connections", virtiotest.AllFeatures, 64, 20, 1 << 20},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			services := newServices(t)
			g := boot(t, Config{Dial: services.dial}, c.features, c.buffers)
			var all sync.WaitGroup
			for i := range c.connections {
				s := g.mustConnect(portService)
				host := <-services.conns
				all.Go(func() { transfer(t, s, host, byte(i), c.total) })
			}
			all.Wait()
		})
	}
}

// TestStalledReaders: a guest that does not read one socket, and a host
// process that does not read another, stop nobody else. When they go on,
// nothing is missing.
func TestStalledReaders(t *testing.T) {
	services := newServices(t)
	g := boot(t, Config{Dial: services.dial}, virtiotest.AllFeatures, 64)
	const total = 2 << 20 // more than all buffers on the way
	var all sync.WaitGroup
	deaf := g.mustConnect(portService)
	deafHost := <-services.conns
	all.Go(func() {
		if err := newSource(1, total).copyTo(deafHost); err != nil {
			t.Error(err)
		}
	})
	full := g.mustConnect(portService)
	fullHost := <-services.conns
	all.Go(func() {
		if err := newSource(2, total).copyTo(full); err != nil {
			t.Error(err)
		}
	})
	g.wait("stall", func() bool { return len(deaf.received) == guestWindow && full.credit() == 0 })

	s := g.mustConnect(portService)
	transfer(t, s, <-services.conns, 3, total)

	if err := newSource(1, total).compare(deaf); err != nil {
		t.Errorf("stalled guest: %v", err)
	}
	if err := newSource(2, total).compare(fullHost); err != nil {
		t.Errorf("stalled host: %v", err)
	}
	all.Wait()
}

func TestHalfClose(t *testing.T) {
	services := newServices(t)
	g := boot(t, Config{Dial: services.dial}, virtiotest.AllFeatures, 64)
	const total = 1 << 20
	all := func(seed byte) *source { return newSource(seed, total) }

	t.Run("host first", func(t *testing.T) {
		s := g.mustConnect(portService)
		host := <-services.conns
		g.apps.Go(func() {
			if err := all(1).copyTo(host); err != nil {
				t.Error(err)
			}
			host.CloseWrite()
		})
		if err := all(1).compare(s); err != nil {
			t.Error(err)
		}
		if n, err := s.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("guest read %d, %v after the host's end", n, err)
		}
		reads := services.reads.Load()
		g.apps.Go(func() {
			if err := all(2).copyTo(s); err != nil {
				t.Error(err)
			}
			s.closeWrite()
		})
		if err := all(2).compare(host); err != nil {
			t.Error(err)
		}
		if rest, err := io.ReadAll(host); len(rest) != 0 || err != nil {
			t.Errorf("host read %d, %v after the guest's end", len(rest), err)
		}
		s.waitReset() // nothing flows any more
		if now := services.reads.Load(); now != reads {
			t.Errorf("device read the half-closed socket %d times", now-reads)
		}
	})
	t.Run("guest first", func(t *testing.T) {
		s := g.mustConnect(portService)
		host := <-services.conns
		g.apps.Go(func() {
			if err := all(3).copyTo(s); err != nil {
				t.Error(err)
			}
			s.closeWrite()
		})
		if err := all(3).compare(host); err != nil {
			t.Error(err)
		}
		if rest, err := io.ReadAll(host); len(rest) != 0 || err != nil {
			t.Errorf("host read %d, %v after the guest's end", len(rest), err)
		}
		g.apps.Go(func() {
			if err := all(4).copyTo(host); err != nil {
				t.Error(err)
			}
			host.CloseWrite()
		})
		if err := all(4).compare(s); err != nil {
			t.Error(err)
		}
		s.waitReset()
	})
	t.Run("guest closes with bytes on the way", func(t *testing.T) {
		s := g.mustConnect(portService)
		host := <-services.conns
		if _, err := s.Write(make([]byte, windowSize/2)); err != nil {
			t.Error(err)
		}
		g.apps.Go(s.close)
		if got, err := io.ReadAll(host); len(got) != windowSize/2 || err != nil {
			t.Errorf("host read %d bytes, %v", len(got), err)
		}
		s.waitReset()
	})
	t.Run("host reads no more", func(t *testing.T) {
		s := g.mustConnect(portService)
		host := <-services.conns
		if err := host.CloseRead(); err != nil {
			t.Fatal(err)
		}
		for {
			if _, err := s.Write(make([]byte, 1000)); err != nil {
				break
			}
		}
		g.wait("SHUTDOWN", func() bool { return s.peerShut == shutdownReceive })
		// The other direction goes on.
		g.apps.Go(func() {
			if err := all(5).copyTo(host); err != nil {
				t.Error(err)
			}
			host.Close()
		})
		if err := all(5).compare(s); err != nil {
			t.Error(err)
		}
		s.waitReset()
	})
	t.Run("guest reads no more", func(t *testing.T) {
		s := g.mustConnect(portService)
		host := <-services.conns
		s.send(opShutdown, shutdownReceive, nil)
		s.fence()
		for {
			if _, err := host.Write(make([]byte, 1000)); err != nil {
				break
			}
		}
		if err := newSource(6, 1000).copyTo(s); err != nil {
			t.Error(err)
		}
		if err := newSource(6, 1000).compare(host); err != nil {
			t.Error(err)
		}
		s.closeWrite()
		s.waitReset()
	})
	t.Run("guest reads no more and the host cannot be told", func(t *testing.T) {
		s := g.mustConnect(portPlain)
		host := <-services.conns
		s.send(opShutdown, shutdownReceive, nil)
		s.fence()
		if err := all(7).copyTo(host); err != nil { // into the void
			t.Error(err)
		}
		s.closeWrite()
		s.waitReset()
		if len(s.received) != 0 {
			t.Errorf("guest got %d bytes after it had refused them", len(s.received))
		}
	})
	t.Run("host dies", func(t *testing.T) {
		s := g.mustConnect(portService)
		host := <-services.conns
		host.Close()
		for {
			if _, err := s.Write(make([]byte, 1000)); err != nil {
				break
			}
		}
		s.waitReset()
	})
	t.Run("guest resets", func(t *testing.T) {
		s := g.mustConnect(portService)
		host := <-services.conns
		if _, err := s.Write([]byte("last words")); err != nil {
			t.Error(err)
		}
		s.send(opReset, 0, nil)
		if got, err := io.ReadAll(host); string(got) != "last words" || err != nil {
			t.Errorf("host read %q, %v", got, err)
		}
		for { // and writes to nobody
			if _, err := host.Write(make([]byte, 1000)); err != nil {
				break
			}
		}
	})
}

// TestLastBytesSurvive: what an app wrote just before its VM ended reaches the
// host, from ring and buffers alike.
func TestLastBytesSurvive(t *testing.T) {
	for name, end := range map[string]func(g *guest) error{
		"close": func(g *guest) error { return g.driver.Transport.Close() },
		"reset": func(g *guest) error { g.driver.Store(virtio.RegStatus, 0); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			services := newServices(t)
			g := boot(t, Config{Dial: services.dial}, virtiotest.AllFeatures, 64)
			s := g.mustConnect(portService)
			host := <-services.conns
			got := make(chan []byte)
			go func() {
				b, _ := io.ReadAll(host)
				got <- b
			}()
			for range 60 {
				if _, err := s.Write(make([]byte, 2000)); err != nil {
					t.Error(err)
				}
			}
			g.stop()
			<-g.done
			if err := end(g); err != nil {
				t.Error(err)
			}
			if b := <-got; len(b) != 60*2000 {
				t.Errorf("host read %d of %d bytes", len(b), 60*2000)
			}
		})
	}
}

// stuckConn is a host process that neither reads nor writes.
type stuckConn struct {
	writing chan struct{} // gets a token when Write blocks
	closed  chan struct{}
	once    sync.Once
}

func (c *stuckConn) Read([]byte) (int, error) {
	<-c.closed
	return 0, net.ErrClosed
}

func (c *stuckConn) Write([]byte) (int, error) {
	c.writing <- struct{}{}
	<-c.closed
	return 0, net.ErrClosed
}

func (c *stuckConn) CloseWrite() error { return nil }
func (c *stuckConn) Close() error      { c.once.Do(func() { close(c.closed) }); return nil }

// TestStalledHostDoesNotBlockClose: nobody takes the last bytes, and Close
// returns all the same.
func TestStalledHostDoesNotBlockClose(t *testing.T) {
	stuck := &stuckConn{writing: make(chan struct{}, 1), closed: make(chan struct{})}
	g := boot(t, Config{Dial: func(context.Context, uint32) (Conn, error) { return stuck, nil }}, virtiotest.AllFeatures, 64)
	s := g.mustConnect(portService)
	s.send(opData, 0, make([]byte, 1000))
	<-stuck.writing
	g.stop()
	if err := g.driver.Transport.Close(); err != nil {
		t.Error(err)
	}
}

// lastWordsConn gives its last bytes and their end in one Read.
type lastWordsConn struct{ *stuckConn }

func (lastWordsConn) Read(p []byte) (int, error) { return copy(p, "last words"), io.EOF }

// TestDataWithEnd: Read may give both at once (io.Reader).
func TestDataWithEnd(t *testing.T) {
	conn := lastWordsConn{&stuckConn{closed: make(chan struct{})}}
	g := boot(t, Config{Dial: func(context.Context, uint32) (Conn, error) { return conn, nil }}, virtiotest.AllFeatures, 64)
	s := g.mustConnect(portService)
	if got, err := io.ReadAll(s); string(got) != "last words" || err != nil {
		t.Errorf("guest read %q, %v", got, err)
	}
	s.close()
}

func BenchmarkToHost(b *testing.B) {
	services := newServices(b)
	g := boot(b, Config{Dial: services.dial}, virtiotest.AllFeatures, 128)
	s := g.mustConnect(portService)
	host := <-services.conns
	go io.Copy(io.Discard, host)
	p := make([]byte, 64<<10)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		if _, err := s.Write(p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkToGuest(b *testing.B) {
	services := newServices(b)
	g := boot(b, Config{Dial: services.dial}, virtiotest.AllFeatures, 128)
	s := g.mustConnect(portService)
	host := <-services.conns
	go io.Copy(io.Discard, s)
	p := make([]byte, 64<<10)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		if _, err := host.Write(p); err != nil {
			b.Fatal(err)
		}
	}
}
