// Command sidetone is the firmware of a voice appliance: it keeps a line on a WebRTC voice platform, and places and
// answers calls at the press of a button.
package main

import (
	"os"

	"sidetone/cmd/sidetone/internal/cli"
	_ "sidetone/cmd/sidetone/internal/static"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
