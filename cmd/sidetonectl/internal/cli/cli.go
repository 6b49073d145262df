// Package cli is what an operator types. Each sub-command returns an exit code; only main exits.
package cli

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"sidetone/cmd/internal/subcommand"
	"sidetone/ota/release"
)

// Version is stamped by the build.
var Version = "dev"

// defaultRepo is the directory of releases when --repo does not say.
const defaultRepo = "./updates"

var tool = subcommand.Program{
	Name:  "sidetonectl",
	About: "makes and signs what devices update from, and rolls it out.",
	Notes: fmt.Sprintf(`Releases are in --repo (default %s), which any HTTPS server can serve as it is: metadata/ says what is
current and who signed it, targets/ has the images. Three roles sign: root says which keys are good, and is kept offline;
targets signs releases; timestamp says every few days what is current. --key takes a private key, or a directory of them,
and may be given more than once: the root says which of them signs what. Times are written as 36h, 90d or 2030-01-31.

Exit codes: 0 done, 1 failed, 2 wrong words, 3 a roll-out stopped itself.`, defaultRepo),
}

// Stopped is the exit code of a roll-out that stopped itself.
const Stopped = 3

func init() { // not above: the sub-commands use tool
	tool.Commands = []subcommand.Command{
		{Name: "keygen", Args: "NAME...", About: "make a key: NAME.key to sign with, NAME.pub for others; prints its ID", Run: keygen},
		{Name: "root", Args: "[--root-key PUB]... [--targets-key PUB]... [--timestamp-key PUB]... [--root-threshold N] [--targets-threshold N] [--timestamp-threshold N] [--expires 1825d] [--key KEY]... [--publish FILE] [--repo D]",
			About: "say which keys are good from now on; what is not said stays. With too few signatures it is a draft: see sign, and --publish", Run: root},
		{Name: "sign", Args: "FILE --key KEY...", About: "add signatures to a file of metadata, on a machine that needs nothing else; without a key, show what is to be signed", Run: sign},
		{Name: "release", Args: "BOARD VERSION IMAGE --key KEY... [--from IMAGE]... [--minimum VERSION] [--expires 365d] [--valid 7d] [--share PERCENT] [--summary TEXT] [--url URL] [--repo D]",
			About: "release an image for a board, with deltas from older ones, and stamp it", Run: releaseImage},
		{Name: "stamp", Args: "--key KEY... [--valid 7d] [--share BOARD=PERCENT]... [--repo D]", About: "sign anew what is current, before the last stamp has expired; a release that is new is offered by --share", Run: stamp},
		{Name: "verify", Args: "[REPO|URL] --board BOARD [--running VERSION] [--device NAME] [--root FILE] [--at TIME] [--ca FILE]", About: "walk a repository as a device would, and say what it would take, or what is wrong and where", Run: verify},
		{Name: "rollout", Args: "BOARD --mqtt URL --key KEY... [--user U] [--password-file F] [--ca FILE] [--fleet NAME] [--shares 1,10,100] [--max-failures PERCENT] [--min-reports N] [--stage 24h] [--silence 30m] [--valid 7d] [--repo D]",
			About: "offer the release of a board to more and more of the fleet, while its devices say how they are; take it back when too many fail", Run: rollOut},
		{Name: "version", Args: "", About: "print the version", Run: version},
	}
}

// Main runs the sub-command in args and returns the exit code.
func Main(args []string, stdin *os.File, stdout, stderr io.Writer) int {
	return tool.Main(subcommand.Env{In: stdin, Out: stdout, Err: stderr}, args)
}

func version(_ context.Context, e subcommand.Env, _ []string) int {
	fmt.Fprintf(e.Out, "sidetonectl %s\n", Version)
	return subcommand.OK
}

// repository makes the flag of a repository; what it points to is filled by Parse.
func repository(set *flag.FlagSet) *release.Repository {
	r := &release.Repository{Dir: defaultRepo}
	set.StringVar(&r.Dir, "repo", r.Dir, "the `directory` of releases")
	return r
}

// list is a flag that may be given more than once.
type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

// keys is --key, as often as it is given.
type keys []ed25519.PrivateKey

func keyFlag(set *flag.FlagSet) *keys {
	var k keys
	set.Var(&k, "key", "a private `key`, or a directory of them; may be given more than once")
	return &k
}

func (k *keys) String() string { return "" }
func (k *keys) Set(path string) error {
	more, err := release.PrivateKeys(path)
	*k = append(*k, more...)
	return err
}

// publicKeys reads NAME.pub of each path.
func publicKeys(paths []string) (keys []ed25519.PublicKey, err error) {
	for _, p := range paths {
		k, err := release.PublicKey(p)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// moment is a flag that is a time, or how long it is until then.
type moment struct{ time.Time }

func momentFlag(set *flag.FlagSet, name, value, about string) *moment {
	m := &moment{}
	if err := m.Set(value); err != nil {
		panic(err) // our own default
	}
	set.Var(m, name, fmt.Sprintf("%s (default %s)", about, value))
	return m
}

func (m *moment) String() string { return "" }
func (m *moment) Set(s string) (err error) {
	if m.Time, err = time.Parse(time.DateOnly, s); err == nil {
		return nil
	}
	d, err := duration(s)
	m.Time = time.Now().Add(d)
	return err
}

// duration reads 90d, and all that Go has.
func duration(s string) (time.Duration, error) {
	if days, is := strings.CutSuffix(s, "d"); is {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is no time: write it as 36h, 90d or 2030-01-31", s)
	}
	return d, nil
}

// share reads a percentage of the fleet, with or without its sign, and gives 0 to 1.
func share(s string) (float64, error) {
	p, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(s, "%")), 64)
	if err != nil || !(p >= 0 && p <= 100) {
		return 0, fmt.Errorf("%q is no percentage: say 0 to 100", s)
	}
	return p / 100, nil
}

// percent writes a share for a person.
func percent(share float64) string { return strconv.FormatFloat(share*100, 'f', -1, 64) + " %" }

// pool reads the CA that a server's certificate is verified by; "" is the system's.
func pool(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(b) {
		return nil, errors.New(path + " holds no certificate in PEM")
	}
	return roots, nil
}
