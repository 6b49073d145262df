// Command sidetone is the firmware of a voice appliance: it keeps a line on a WebRTC voice platform, and places and
// answers calls at the press of a button.
package main

import (
	"os"
	"runtime"
	"runtime/debug"

	"sidetone/cmd/sidetone/internal/cli"
	_ "sidetone/cmd/sidetone/internal/slack"
)

func main() {
	// A call allocates little: collecting twice as often costs next to nothing, and takes 3 MB off the most that is
	// resident, of 31.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	// A call keeps a core busy for a few of a hundred parts, in short pieces of work that wait for one another: a second
	// thread would only be woken, find nothing and sleep again, a quarter of all CPU. The smallest board has one core anyway.
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
