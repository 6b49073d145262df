//go:build board || update

package e2e_test

import "testing"

// labForBoard is the lab's address, and the one by which an emulated board gets to it: QEMU's user network ends in a socket
// here.
const labForBoard = "10.0.2.2"

// startBoardLab brings a lab up for a board; outside has made the network in which the test is.
func startBoardLab(t *testing.T) *lab {
	t.Helper()
	here := (*namespace)(nil)
	here.do(t, "ip link set lo up")
	here.do(t, "ip link add lab type veth peer name wall") // a loopback's address would be no candidate of ICE
	here.do(t, "ip link set wall up")
	here.do(t, "ip link set lab up")
	here.do(t, "ip addr add "+labForBoard+"/24 dev lab")
	return here.startLab(t, t.TempDir(), "--listen", "0.0.0.0:0", "--advertise", labForBoard)
}
