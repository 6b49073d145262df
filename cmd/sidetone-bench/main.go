// Command sidetone-bench measures what the device does to sound, offline and in virtual time: the playout of any
// schedule of packets through the same receiver and sender that a call has, and echo cancellers in made rooms.
package main

import (
	"os"

	"sidetone/cmd/sidetone-bench/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr))
}
