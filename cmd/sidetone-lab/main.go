// Command sidetone-lab is the local cloud in one process: a Verto gateway, a token service, TURN, an MQTT broker and a
// web page, so that devices can be run and tested with nothing else.
package main

import (
	"os"

	"sidetone/cmd/sidetone-lab/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
