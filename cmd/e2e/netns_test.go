package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// programs is where a test that runs in networks of its own finds what was built; empty in the process that runs it.
const programs = "SIDETONE_E2E_PROGRAMS"

// outside runs the test again in a process that may make networks: as root of a user and a network namespace of its own.
// It reports true in the process outside, where nothing is left to do.
func outside(t *testing.T, tools ...string) bool {
	t.Helper()
	if os.Getenv(programs) != "" {
		return false
	}
	for _, tool := range append(tools, "ip", "nsenter") {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s here: buildroot/setup.sh test installs it", tool)
		}
	}
	limit := 5 * time.Minute
	if end, ok := t.Deadline(); ok {
		limit = time.Until(end) - 5*time.Second // so that what it prints is seen
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout="+limit.String())
	cmd.Env = append(os.Environ(), programs+"="+bin)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if cmd.Process == nil && errors.Is(err, os.ErrPermission) {
		t.Skipf("this machine lets nobody make a user namespace: %v", err)
	}
	for line := range strings.Lines(out.String()) {
		if s := strings.TrimRight(line, "\n"); s != "" {
			t.Log(s)
		}
	}
	if err != nil {
		t.Error(err)
	}
	return true
}

// namespace is a network, held by a process that sleeps in it.
type namespace struct{ pid int }

// newNamespace makes a network with nothing in it but loopback. It lasts as long as the test.
func newNamespace(t *testing.T) *namespace {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	n := &namespace{pid: cmd.Process.Pid}
	n.do(t, "ip link set lo up")
	return n
}

// enter gives the command that runs one in the namespace. Without a namespace it is the command itself.
func (n *namespace) enter(name string, args ...string) (string, []string) {
	if n == nil {
		return name, args
	}
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		panic(err) // outside has seen it
	}
	return nsenter, append([]string{"--net=/proc/" + strconv.Itoa(n.pid) + "/ns/net", "--", program(name)}, args...)
}

// do runs a command of the system in the namespace; lines are its standard input.
func (n *namespace) do(t *testing.T, command string, lines ...string) {
	t.Helper()
	words := strings.Fields(command)
	path, err := exec.LookPath(words[0])
	if err != nil {
		t.Fatal(err)
	}
	name, args := n.enter(path, words[1:]...)
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s%s", command, err, strings.Join(lines, "\n"), out)
	}
}

// nft loads rules of nftables, by the family ip.
func (n *namespace) nft(t *testing.T, rules ...string) {
	t.Helper()
	n.do(t, "nft -f -", append(append([]string{"table ip test {"}, rules...), "}")...)
}

// forwards makes a router of the namespace.
func (n *namespace) forwards(t *testing.T) {
	t.Helper()
	n.do(t, "sh", "echo 1 > /proc/sys/net/ipv4/ip_forward")
}

// end is one end of a cable: an interface, with its address (1.2.3.4/24).
type end struct {
	in            *namespace
	name, address string
}

// cable joins two namespaces.
func cable(t *testing.T, a, b end) {
	t.Helper()
	a.in.do(t, fmt.Sprintf("ip link add %s type veth peer name %s netns %d", a.name, b.name, b.in.pid))
	for _, e := range []end{a, b} {
		e.in.do(t, fmt.Sprintf("ip link set %s addrgenmode none up", e.name))
		e.in.do(t, fmt.Sprintf("ip addr add %s dev %s", e.address, e.name))
	}
}

// outage is how long a device has no address when it changes.
const outage = 500 * time.Millisecond

// changeAddress takes an address away, and gives the other after the outage.
func (e end) changeAddress(t *testing.T, to string) {
	t.Helper()
	e.in.do(t, fmt.Sprintf("ip addr del %s dev %s", e.address, e.name))
	time.Sleep(outage)
	e.in.do(t, fmt.Sprintf("ip addr add %s dev %s", to, e.name))
}
