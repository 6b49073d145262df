package media

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pion/rtp"
)

// role is which part this process plays in the tests that need a network of their own; empty in the one that runs them.
const role = "SIDETONE_TEST_ROLE"

// inNamespace runs the named test again, as root of a user and network namespace of its own, in the given role.
func inNamespace(t *testing.T, flags uintptr, part string, edit func(*exec.Cmd)) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), role+"="+part, "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
	if flags&syscall.CLONE_NEWUSER != 0 {
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	edit(cmd)
	return cmd
}

// alone runs the test in a network of its own, and reports whether this process is the one to do so.
func alone(t *testing.T) (outside bool) {
	t.Helper()
	if os.Getenv(role) != "" {
		return false
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("no ip(8) here: install iproute2")
	}
	var out strings.Builder
	cmd := inNamespace(t, syscall.CLONE_NEWUSER|syscall.CLONE_NEWNET, "device", func(c *exec.Cmd) { c.Stdout, c.Stderr = &out, &out })
	err := cmd.Run()
	if cmd.Process == nil && (os.IsPermission(err) || strings.Contains(fmt.Sprint(err), "operation not permitted")) {
		t.Skipf("this machine lets nobody make a user namespace: %v", err)
	}
	for line := range strings.Lines(out.String()) {
		if s := strings.TrimSpace(line); s != "" && !strings.HasPrefix(s, "=== ") {
			t.Log(s)
		}
	}
	must(t, err)
	return true
}

// ip runs ip(8); lines are its standard input.
func ip(t *testing.T, args string, lines ...string) {
	t.Helper()
	cmd := exec.Command("ip", strings.Fields(args)...)
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", args, err, out)
	}
}

func TestWatch(t *testing.T) {
	if alone(t) {
		return
	}
	ip(t, "link set lo up")
	ip(t, "link add va type veth peer name vb")
	ctx, cancel := context.WithCancel(t.Context())
	changes := make(chan Network, 16)
	ended := make(chan error, 1)
	go func() { ended <- Watch(ctx, func(n Network) { changes <- n }) }()
	quiet := func(what string) {
		t.Helper()
		select {
		case n := <-changes:
			t.Errorf("%s was told: %+v", what, n)
		case <-time.After(4 * watchDelay):
		}
	}
	next := func(what, want string) {
		t.Helper()
		start := time.Now()
		select {
		case n := <-changes:
			t.Logf("%s: told after %v: %v", what, time.Since(start).Round(time.Millisecond), n)
			if got := fmt.Sprint(n.Addresses, n.Routes); got != want {
				t.Errorf("%s: %s, want %s", what, got, want)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("%s was not told", what)
		}
	}
	next("nothing", "[] []")
	ip(t, "addr add 10.9.0.2/24 dev va")
	ip(t, "link set vb addrgenmode none up")
	quiet("an address on a link that is down")
	ip(t, "link set va addrgenmode none up")
	next("link up", "[10.9.0.2] []")
	ip(t, "route add default via 10.9.0.1")
	next("a default route", "[10.9.0.2] [10.9.0.1 va]")
	ip(t, "-batch /dev/stdin", "addr add 10.9.0.3/24 dev va", "addr add fd00::3/64 dev va nodad")
	next("two addresses in a burst", "[10.9.0.2 10.9.0.3 fd00::3] [10.9.0.1 va]")
	ip(t, "route add 10.77.0.0/16 via 10.9.0.1")
	ip(t, "addr add fe80::9/64 dev va nodad")
	quiet("a route to elsewhere and a link-local address")
	ip(t, "addr flush dev va scope global")
	next("all gone", "[] []")
	if (Network{}).Up() {
		t.Error("up without an address")
	}
	old := Network{Addresses: []netip.Addr{netip.MustParseAddr("10.9.0.2")}, Routes: []string{"10.9.0.1 va"}}
	more := Network{Addresses: append(slices.Clone(old.Addresses), netip.MustParseAddr("10.9.0.3")), Routes: old.Routes}
	if more.Lost(old) || old.Lost(old) || !old.Lost(more) || !(Network{Addresses: old.Addresses}).Lost(old) {
		t.Error("what was lost is not told from what was won")
	}
	cancel()
	select {
	case err := <-ended:
		must(t, err)
	case <-time.After(5 * time.Second):
		t.Fatal("Watch does not end with its context")
	}
}

// arrivalGap is a receiver that remembers the longest time without a packet.
type arrivalGap struct {
	heard
	mu      sync.Mutex
	last    time.Time
	longest time.Duration
}

func (g *arrivalGap) PushRTP(p *rtp.Packet, at time.Time) {
	g.heard.PushRTP(p, at)
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.last.IsZero() {
		g.longest = max(g.longest, at.Sub(g.last))
	}
	g.last = at
}

// take gives the longest gap since it was asked last.
func (g *arrivalGap) take() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	d := g.longest
	g.longest = 0
	return d
}

// speak sends a packet each 20 ms until ctx ends.
func speak(ctx context.Context, s *Session) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := uint16(1); ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.WriteRTP(&rtp.Packet{Header: rtp.Header{SequenceNumber: n, Timestamp: uint32(n) * 960}, Payload: []byte{1, 2}})
		}
	}
}

// TestAddressChange: the device's address goes, 500 ms later there is another one, and the call goes on.
func TestAddressChange(t *testing.T) {
	switch os.Getenv(role) {
	case "far":
		farSide(t)
		return
	case "":
		alone(t)
		return
	}
	toFar, fromFar := startFar(t)
	ask := func(what, sdp string) string {
		fmt.Fprintf(toFar, "%s %s\n", what, base64.StdEncoding.EncodeToString([]byte(sdp)))
		if !fromFar.Scan() {
			t.Error("the far side is gone")
			return ""
		}
		out, err := base64.StdEncoding.DecodeString(fromFar.Text())
		must(t, err)
		return string(out)
	}
	ip(t, "addr add 10.9.0.2/24 dev va")
	gaps := &arrivalGap{}
	a := newPeer(t, Config{}, func(c *SessionConfig) { c.Receiver = gaps })
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	// The device: any change of the network that leaves an address restarts ICE.
	networks := make(chan Network, 16)
	wg.Go(func() { _ = Watch(ctx, func(n Network) { networks <- n }) })
	offer, err := a.Offer(t.Context())
	must(t, err)
	must(t, a.SetAnswer(ask("offer", offer)))
	a.expect(t, Connected)
	wg.Go(func() { speak(ctx, a.Session) })
	waitFor(t, "sound", func() bool { return gaps.count() > 50 })

	outage, rounds := 500*time.Millisecond, 3
	if v := os.Getenv("SIDETONE_TEST_OUTAGE"); v != "" { // 35s: ICE fails, and comes back all the same
		outage, err = time.ParseDuration(v)
		must(t, err)
		rounds = 1
	}
	for round := range rounds {
		gaps.take()
		ask("gap", "")
		ip(t, fmt.Sprintf("addr del 10.9.0.%d/24 dev va", 2+round))
		time.Sleep(outage)
		ip(t, fmt.Sprintf("addr add 10.9.0.%d/24 dev va", 3+round))
		for n := range networks {
			if !slices.Contains(n.Addresses, netip.AddrFrom4([4]byte{10, 9, 0, byte(3 + round)})) {
				continue
			}
			offer, err := a.Restart(t.Context())
			must(t, err)
			must(t, a.SetAnswer(ask("offer", offer)))
			break
		}
		n := gaps.count()
		waitFor(t, "sound after the change", func() bool { return gaps.count() > n+25 })
		in, out := gaps.take(), ask("gap", "")
		t.Logf("GAP with %v of no address: in %v, out %s", outage, in.Round(time.Millisecond), out)
		if d, err := time.ParseDuration(out); err != nil || d < outage || d > outage+7*time.Second || in < outage || in > outage+7*time.Second {
			t.Errorf("%v, %v, %v; 700 ms is what is wanted", in, d, err)
		}
		if p := a.Sample().Path; p == nil || p.Local.Address != fmt.Sprintf("10.9.0.%d", 3+round) {
			t.Errorf("path: %+v", p)
		}
	}
}

// startFar starts the far side in a network of its own, joined to ours by a cable.
func startFar(t *testing.T) (io.Writer, *bufio.Scanner) {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	var stdin io.WriteCloser
	cmd := inNamespace(t, syscall.CLONE_NEWNET, "far", func(c *exec.Cmd) {
		c.ExtraFiles = []*os.File{w}
		c.Stderr = os.Stderr
		stdin, err = c.StdinPipe()
		must(t, err)
	})
	must(t, cmd.Start())
	w.Close()
	t.Cleanup(func() { stdin.Close(); r.Close(); _ = cmd.Wait() })
	ip(t, "link set lo up")
	ip(t, "link add va type veth peer name vb")
	ip(t, fmt.Sprintf("link set vb netns %d", cmd.Process.Pid))
	ip(t, "link set va addrgenmode none up")
	fmt.Fprintln(stdin, "go -")
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	if !lines.Scan() {
		t.Fatal("the far side did not start")
	}
	return stdin, lines
}

// farSide answers offers, speaks, and tells of gaps.
func farSide(t *testing.T) {
	out := os.NewFile(3, "out")
	defer out.Close()
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	gaps := &arrivalGap{}
	var b *peer
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for in.Scan() {
		what, arg, _ := strings.Cut(in.Text(), " ")
		reply := ""
		switch what {
		case "go":
			ip(t, "link set lo up")
			ip(t, "link set vb addrgenmode none up")
			ip(t, "addr add 10.9.0.1/24 dev vb")
		case "gap":
			reply = gaps.take().Round(time.Millisecond).String()
		case "offer":
			sdp, err := base64.StdEncoding.DecodeString(arg)
			must(t, err)
			if b == nil {
				b = newPeer(t, Config{}, func(c *SessionConfig) { c.Receiver = gaps })
				wg.Go(func() { speak(ctx, b.Session) })
			}
			reply, err = b.Answer(t.Context(), string(sdp))
			must(t, err)
		}
		fmt.Fprintln(out, base64.StdEncoding.EncodeToString([]byte(reply)))
	}
}
