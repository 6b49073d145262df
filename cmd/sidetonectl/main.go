// Command sidetonectl is the operator's tool: keys, releases, and roll-outs to a fleet.
package main

import (
	"os"

	"sidetone/cmd/sidetonectl/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
