// Package update keeps the firmware new: it puts the parts of ota together for one device, with what they remember on
// its disk, and says how far they are in the words of the control socket.
package update

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"sidetone/cmd/sidetone/internal/control"
	"sidetone/ota"
	"sidetone/ota/disk"
	"sidetone/ota/hawkbit"
	"sidetone/ota/install"
	"sidetone/ota/slot"
	"sidetone/provisioning/config"
	"sidetone/provisioning/identity"

	"github.com/google/uuid"
	"golang.org/x/mod/semver"
	"golang.org/x/time/rate"
)

// Config says what is updated, from where, and who is told.
type Config struct {
	Update   config.Update
	Board    string // whose releases, where Update does not say
	Device   string // its name in the fleet
	Version  string // of this program
	StateDir string // device.state_dir
	Secrets  *identity.SecretFiles
	Now      func() time.Time // for certificates and metadata: may be early, never late
	// Restart ends this program in order; then the system boots with an argument for its firmware, or, where the program
	// alone is swapped, it is started again.
	Restart   func(arg string) error
	Appliance ota.Appliance
	Before    func() error // is called before a trial boot, and has to be well
	Tell      func(control.Update)
	Log       *slog.Logger
}

// Updater is an ota.Updater that knows what it is called.
type Updater struct {
	*ota.Updater
	status *status
	client *http.Client
	orders *hawkbit.Agent // nil: the repository alone says when
}

// New puts the parts together. Where the system cannot be updated Run says why.
func New(c Config) (*Updater, error) {
	u := c.Update
	dir := filepath.Join(c.StateDir, "update")
	window, err := ota.ParseWindow(u.Window)
	if err != nil {
		return nil, fmt.Errorf("update.window: %w", err)
	}
	source, err := newSource(u, c.Now)
	if err != nil {
		return nil, err
	}
	b := boot{before: c.Before, version: c.Version}
	b.Control, b.err = slot.System{
		Kind: u.Boot, BootDir: u.BootDir, Disk: u.Disk, Dir: Slots(c.StateDir), Restart: c.Restart,
	}.Find()
	if err := os.MkdirAll(dir, 0o700); err != nil && b.err == nil {
		b.err = err
	}
	id := ""
	if _, is := b.Control.(slot.Binary); is {
		id = uuid.NewString() // each start is a boot of what is swapped
	} else if raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		id = strings.TrimSpace(string(raw))
		release, _ := os.ReadFile("/etc/os-release")
		b.version = imageVersion(string(release), c.Version)
	}
	if b.version, err = version(b.version); err != nil && b.err == nil {
		b.err = err
	}
	s := &status{version: b.version, tell: c.Tell}
	i := installer{
		Installer: &install.Installer{
			Source: source, Board: cmp.Or(u.Board, c.Board), Device: c.Device, Running: b.version, Slot: b.Control,
			Head: filepath.Join(dir, "head"), Now: c.Now, Log: c.Log, NeverFull: u.NeverFullDownload,
			Patience: 10 * time.Minute, Pause: time.Second,
		},
		checked: s.checked,
	}
	known := trust{disk.Record{Path: filepath.Join(dir, "trust.json")}, u.RootFile, c.Log}
	i.Trust, i.Save = known.load, known.save
	orders, err := newOrders(u, c, source.Client)
	if err != nil {
		return nil, err
	}
	var from ota.Installer = i
	if orders != nil {
		orders.Installer, orders.Running, orders.Attributes = i, b.version, map[string]string{"board": i.Board, "firmware": b.version}
		from = orders
	}
	up := ota.New(ota.Config{
		Interval: time.Duration(u.Interval), Spread: max(1, time.Duration(u.Spread)), Window: window,
		Hold: time.Duration(u.Probation), ProbationLimit: probations * time.Duration(u.Probation), BootID: id,
	}, from, b, c.Appliance, disk.Record{Path: filepath.Join(dir, "state.json")})
	up.Log, up.Tell = c.Log, s.state
	if orders != nil {
		orders.Updater, up.Tell = up, func(st ota.State) { s.state(st); orders.Tell(st) }
	}
	return &Updater{up, s, source.Client, orders}, nil
}

// Run carries updates out until ctx ends, or says in the status why there are none.
func (u *Updater) Run(ctx context.Context) {
	defer u.client.CloseIdleConnections()
	var asking sync.WaitGroup
	defer asking.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if u.orders != nil {
		asking.Go(func() { u.orders.Run(ctx) })
	}
	if err := u.Updater.Run(ctx); err != nil {
		u.Log.Warn("there will be no updates", "err", err)
		u.status.off(err)
	}
}

// Status is how far it is.
func (u *Updater) Status() control.Update { return u.status.now() }

// Slots is where the programs are that slot.Binary swaps.
func Slots(stateDir string) string { return filepath.Join(stateDir, "slots") }

func newSource(u config.Update, now func() time.Time) (install.HTTP, error) {
	base, err := url.Parse(u.URL)
	if err != nil {
		return install.HTTP{}, fmt.Errorf("update.url: %w", err)
	}
	roots, err := config.Roots(u.CAFile)
	if err != nil {
		return install.HTTP{}, fmt.Errorf("update.%w", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone() // with the environment's proxy
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, Time: now}
	transport.ResponseHeaderTimeout = 30 * time.Second
	h := install.HTTP{URL: base, Client: &http.Client{Transport: transport, CheckRedirect: encrypted}}
	if kbps := u.BandwidthKbps; kbps > 0 {
		h.Limit = rate.NewLimiter(rate.Limit(kbps*1000/8), readAtOnce)
	}
	return h, nil
}

// encrypted follows a server to another place only if nobody can read or change what is said there: tokens go along.
func encrypted(to *http.Request, via []*http.Request) error {
	switch {
	case to.URL.Scheme != "https":
		return fmt.Errorf("the server redirects to %s, where nothing is encrypted", to.URL.Host)
	case len(via) >= 10:
		return errors.New("the server redirects in a circle")
	}
	return nil
}

// probations is how many times the time that health has to hold for a new system has to get there.
const probations = 10

// readAtOnce is how much of a download is read at once where there is a limit, in bytes.
const readAtOnce = 16 << 10

// version makes "1.2.3" the "v1.2.3" that releases have.
func version(text string) (string, error) {
	for _, v := range []string{text, "v" + text} {
		if semver.IsValid(v) {
			return v, nil
		}
	}
	return text, fmt.Errorf("what runs is %q, which is no version like v1.2.3: nothing can be newer", text)
}

// imageVersion is IMAGE_VERSION of os-release(5), or that of our program.
func imageVersion(release, program string) string {
	for line := range strings.Lines(release) {
		if v, is := strings.CutPrefix(strings.TrimSpace(line), "IMAGE_VERSION="); is {
			return cmp.Or(strings.Trim(v, `"'`), program)
		}
	}
	return program
}
