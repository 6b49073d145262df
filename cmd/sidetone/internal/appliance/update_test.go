package appliance

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sidetone/board/gpio/gpiofake"
	"sidetone/cmd/sidetone/internal/control"
	"sidetone/cmd/sidetone/internal/update"
	"sidetone/ota/release"
	"sidetone/ota/slot"
	"sidetone/provisioning/config"

	"go.uber.org/goleak"
)

// updatable is a device whose program alone is swapped, with a platform and a repository over TLS. Its programs are files whose
// first line is their version; what starts them is the test, in the place of the service manager.
type updatable struct {
	t    *testing.T
	cfg  *config.Config
	repo release.Repository
	keys ed25519.PrivateKey
	x    *exchange
	gpio map[string]*gpiofake.System // by version, where it is another

	mu      sync.Mutex
	now     *Appliance
	starts  []string        // versions
	told    []control.Event // about updates
	fetched []string        // paths and ranges
	away    bool            // the platform, from the second start on
	stop    context.CancelFunc
	ended   chan struct{}
}

func newUpdatable(t *testing.T) *updatable {
	d := &updatable{t: t, x: newExchange(t), gpio: map[string]*gpiofake.System{}}
	_, d.keys, _ = ed25519.GenerateKey(nil)
	dir := t.TempDir()
	d.repo = release.Repository{Dir: filepath.Join(dir, "repository"), ChunkSize: 64 << 10}
	keys := release.Keys{Public: []ed25519.PublicKey{d.keys.Public().(ed25519.PublicKey)}, Threshold: 1}
	d.must(d.repo.Root(keys, keys, keys, time.Now().Add(time.Hour), d.keys))
	platform := &exchanges{t: t, of: map[string]*exchange{"/": d.x}}
	files := http.FileServer(http.Dir(d.repo.Dir))
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			d.mu.Lock()
			away := d.away && len(d.starts) > 1
			d.mu.Unlock()
			if away {
				http.Error(w, "away", http.StatusServiceUnavailable)
				return
			}
			platform.ServeHTTP(w, r)
			return
		}
		if strings.HasPrefix(r.URL.Path, "/targets/") {
			d.mu.Lock()
			d.fetched = append(d.fetched, path.Base(r.URL.Path)+" "+r.Header.Get("Range"))
			d.mu.Unlock()
		}
		files.ServeHTTP(w, r)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(func() {
		if d.stop != nil {
			d.quit()
		}
		d.x.cut()
		server.Close()
		platform.wg.Wait()
		d.x.wg.Wait()
	})

	file := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		d.must(os.WriteFile(path, b, 0o600))
		return path
	}
	root, err := d.repo.First()
	d.must(err)
	d.cfg = config.Default()
	d.cfg.Device.Name, d.cfg.Device.StateDir = "door1", filepath.Join(dir, "state")
	d.cfg.Audio.Capture, d.cfg.Audio.Playback = "null", "null"
	d.cfg.Control.Socket = filepath.Join(dir, "s")
	d.cfg.Line.URL = "wss" + strings.TrimPrefix(server.URL, "https")
	d.cfg.Line.CAFile = file("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	d.cfg.Line.TokenFile = file("door1.jwt", []byte("e30.e30.e30"))
	d.cfg.Update = config.Update{
		URL: server.URL, CAFile: d.cfg.Line.CAFile, RootFile: file("root.json", root), Board: "test", Boot: config.BootBinary,
		Interval: config.Duration(time.Hour), Probation: config.Duration(2 * time.Second),
	}
	d.install("v1.0.0")
	return d
}

func (d *updatable) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// install puts a version into slot a, as the package does.
func (d *updatable) install(version string) {
	slots := update.Slots(d.cfg.Device.StateDir)
	d.must(os.MkdirAll(filepath.Join(slots, "a"), 0o755))
	d.must(os.WriteFile(filepath.Join(slots, "a", slot.Program), program(version), 0o755))
	d.must(os.Symlink("a", filepath.Join(slots, "current")))
}

// program is an image of 2 MB, of which nothing compresses.
func program(version string) []byte {
	b := []byte(version + "\n")
	body := make([]byte, 2<<20)
	rand.NewChaCha8([32]byte{}).Read(body)
	return append(b, body...)
}

// publish signs a version, with deltas from others, and says that it is current.
func (d *updatable) publish(version string, from ...string) {
	d.t.Helper()
	d.publishAs(version, version, from...)
}

// publishAs gives it another name than its own.
func (d *updatable) publishAs(version, own string, from ...string) {
	d.t.Helper()
	file := func(version string) string {
		path := filepath.Join(d.t.TempDir(), "image")
		d.must(os.WriteFile(path, program(version), 0o644))
		return path
	}
	path := file(own)
	for i := range from {
		from[i] = file(from[i])
	}
	_, _, err := d.repo.Add(release.Release{
		Board: "test", Version: version, Image: path, From: from, Summary: "It rings louder.", URL: "https://example.net/" + version,
		Expires: time.Now().Add(time.Hour),
	}, d.keys)
	d.must(err)
	d.must(d.repo.Stamp(time.Now().Add(time.Hour), d.keys))
}

// run starts the device again and again, until quit.
func (d *updatable) run() {
	ctx, stop := context.WithCancel(context.Background())
	d.stop, d.ended = stop, make(chan struct{})
	go func() {
		defer close(d.ended)
		for ctx.Err() == nil {
			path, err := slot.Binary{Dir: update.Slots(d.cfg.Device.StateDir), Program: slot.Program}.Guard()
			if err != nil {
				d.t.Error(err)
				return
			}
			text, err := os.ReadFile(path)
			if err != nil {
				d.t.Error(err)
				return
			}
			first, _, _ := bytes.Cut(text, []byte("\n"))
			opt := Options{Config: d.cfg, Version: string(first), Logger: slog.New(slog.DiscardHandler)}
			if g := d.gpio[opt.Version]; g != nil {
				opt.GPIO = g
			}
			a, err := New(opt)
			if err != nil {
				d.t.Error(err)
				return
			}
			events, _ := a.watchers.watch()
			d.mu.Lock()
			d.now, d.starts = a, append(d.starts, opt.Version)
			d.mu.Unlock()
			var watching sync.WaitGroup
			watching.Go(func() {
				for e := range events {
					if e.Update != nil {
						d.mu.Lock()
						d.told = append(d.told, e)
						d.mu.Unlock()
					}
				}
			})
			if err := a.Run(ctx); err != nil {
				d.t.Error(err)
			}
			watching.Wait()
		}
	}()
}

func (d *updatable) quit() {
	d.stop()
	<-d.ended
}

// comes waits for a state of the update, by its phase.
func (d *updatable) comes(phase string, also func(control.Update) bool) control.Update {
	d.t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		d.mu.Lock()
		a := d.now
		d.mu.Unlock()
		var u control.Update
		if a != nil {
			u = *a.updateState()
		}
		if u.Phase == phase && (also == nil || also(u)) {
			return u
		}
		if time.Now().After(end) {
			d.t.Fatalf("it does not come to %q: %+v after %q", phase, u, d.phases())
		}
	}
}

// lamp waits for what the lamp says.
func (d *updatable) lamp(a *Appliance, name string) {
	d.t.Helper()
	for end := time.Now().Add(time.Minute); a.Status(d.t.Context()).Indicator.Name != name; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			d.t.Fatalf("the lamp says %v, want %s", a.Status(d.t.Context()).Indicator, name)
		}
	}
}

// phases that were told of, in their order.
func (d *updatable) phases() (all []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.told {
		if n := len(all); n == 0 || all[n-1] != e.Update.Phase {
			all = append(all, e.Update.Phase)
		}
	}
	return all
}

func (d *updatable) command(name, request string) {
	d.t.Helper()
	var q any
	d.must(json.Unmarshal([]byte(request), &q))
	d.must(control.NewClient(d.cfg.Control.Socket).Do(d.t.Context(), name, q, nil))
}

// has checks which versions ran, and which one stays.
func (d *updatable) has(starts ...string) {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Equal(d.starts, starts) {
		d.t.Errorf("started %q, want %q", d.starts, starts)
	}
	path, err := slot.Binary{Dir: update.Slots(d.cfg.Device.StateDir), Program: slot.Program}.Guard()
	d.must(err)
	text, err := os.ReadFile(path)
	d.must(err)
	if last := starts[len(starts)-1]; !bytes.Equal(text, program(last)) {
		d.t.Errorf("what stays is not %s", last)
	}
}

func TestUpdate(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
	idle := func(u control.Update) bool { return !u.LastCheck.IsZero() }
	for name, act := range map[string]func(*updatable){
		"a good one stays": func(d *updatable) {
			d.publish("v1.1.0")
			d.run()
			u := d.comes("committed", nil)
			if u.InstalledVersion != "v1.1.0" || u.LatestVersion != "v1.1.0" || u.InProgress || u.UpdatePercentage != nil {
				d.t.Errorf("%+v", u)
			}
			d.quit() // all is told by then
			want := []string{"idle", "checking", "downloading", "verifying", "writing", "ready", "trying", "probation", "committed"}
			if got := slices.DeleteFunc(d.phases(), func(p string) bool { return p == "waiting" }); !slices.Equal(slices.Compact(got), want) {
				d.t.Errorf("phases %q, want %q", got, want)
			}
			percents := []int{}
			for _, e := range d.told {
				if u := e.Update; u.Phase == "downloading" {
					percents = append(percents, *u.UpdatePercentage)
					if u.LatestVersion != "v1.1.0" || u.ReleaseSummary != "It rings louder." || u.ReleaseURL != "https://example.net/v1.1.0" {
						d.t.Errorf("%+v", u)
					}
				}
			}
			if !slices.IsSorted(percents) || len(percents) < 3 {
				d.t.Errorf("percent %v", percents)
			}
			d.has("v1.0.0", "v1.1.0")
		},
		"not signed as it must be": func(d *updatable) {
			d.publish("v1.1.0")
			path := filepath.Join(d.repo.Dir, "metadata", "timestamp.json")
			text, err := os.ReadFile(path)
			d.must(err)
			var e struct {
				PayloadType string           `json:"payloadType"`
				Payload     []byte           `json:"payload"`
				Signatures  []map[string]any `json:"signatures"`
			}
			d.must(json.Unmarshal(text, &e))
			e.Payload = bytes.Replace(e.Payload, []byte(`"version":1`), []byte(`"version":2`), 1)
			text, err = json.Marshal(e)
			d.must(err)
			d.must(os.WriteFile(path, text, 0o644))
			d.run()
			if u := d.comes("idle", idle); !strings.Contains(u.Reason, "not signed as it must be") || u.LatestVersion != "v1.0.0" {
				d.t.Errorf("%+v", u)
			}
			d.quit()
			d.has("v1.0.0")
			if len(d.fetched) > 0 {
				d.t.Errorf("fetched %q", d.fetched)
			}
		},
		"it waits for a call": func(d *updatable) {
			d.run()
			d.comes("idle", idle)
			d.mu.Lock()
			a := d.now
			d.mu.Unlock()
			for a.line.Status().State != "registered" {
				time.Sleep(20 * time.Millisecond)
			}
			d.x.ring()
			d.lamp(a, "ringing")
			d.publish("v1.1.0")
			d.command("update-check", `{}`)
			d.comes("waiting", func(u control.Update) bool { return u.Reason == "a call rings" })
			d.lamp(a, "ringing")
			d.x.hangUp()
			d.comes("committed", nil)
			d.quit()
			d.has("v1.0.0", "v1.1.0")
		},
		"it is put off, and forced": func(d *updatable) {
			d.publish("v1.1.0")
			d.cfg.Update.Spread = config.Duration(time.Hour) // nothing comes by itself
			d.run()
			d.comes("idle", nil)
			d.command("update-defer", `{"seconds":3600}`)
			d.command("update-check", `{}`)
			d.comes("waiting", func(u control.Update) bool {
				return strings.HasPrefix(u.Reason, "deferred until") && !u.DeferredUntil.IsZero()
			})
			d.command("update-force", `{}`)
			d.comes("committed", nil)
			d.quit()
			d.has("v1.0.0", "v1.1.0")
		},
		"one in which a button does not open goes back": func(d *updatable) {
			d.cfg.Buttons = []config.Button{{Name: "bell", Line: "GPIO17", Target: "house"}}
			d.gpio["v1.0.0"], d.gpio["v1.1.0"] = &gpiofake.System{}, &gpiofake.System{}
			d.gpio["v1.0.0"].Add(&gpiofake.Chip{}, "GPIO17")
			d.gpio["v1.1.0"].Add(&gpiofake.Chip{}, "GPIO18")
			d.publish("v1.1.0")
			d.run()
			u := d.comes("idle", func(u control.Update) bool { return u.InstalledVersion == "v1.0.0" && u.NotAgain && idle(u) })
			if u.Reason != "v1.1.0 is not tried again: button bell does not open" || u.LatestVersion != "v1.1.0" {
				d.t.Errorf("%+v", u)
			}
			d.quit()
			if i := slices.IndexFunc(d.told, func(e control.Event) bool { return e.Name == "rolled back" }); i < 0 || d.told[i].Message != "button bell does not open" {
				d.t.Errorf("told %q", d.phases())
			}
			d.has("v1.0.0", "v1.1.0", "v1.0.0")
		},
		"one that was released as another goes back": func(d *updatable) {
			d.publishAs("v1.2.0", "v1.1.0")
			d.run()
			u := d.comes("idle", func(u control.Update) bool { return u.InstalledVersion == "v1.0.0" && u.NotAgain && idle(u) })
			if !strings.Contains(u.Reason, "it says that it is v1.1.0, and was released as v1.2.0") {
				d.t.Errorf("%+v", u)
			}
			d.quit()
			d.has("v1.0.0", "v1.1.0", "v1.0.0")
		},
		"a platform that is away is no fault of it": func(d *updatable) {
			d.publish("v1.1.0")
			d.away = true // from the trial on
			d.run()
			d.comes("waiting", func(u control.Update) bool {
				return u.InstalledVersion == "v1.0.0" && strings.Contains(u.Reason, "the line is not registered") && !u.NotAgain
			})
			d.mu.Lock()
			d.away = false
			d.mu.Unlock()
			d.comes("committed", nil)
			d.quit()
			d.has("v1.0.0", "v1.1.0", "v1.0.0", "v1.1.0")
		},
		"what was wrong before is no fault of it": func(d *updatable) {
			d.cfg.Buttons = []config.Button{{Name: "bell", Line: "GPIO17", Target: "house"}}
			none := &gpiofake.System{}
			d.gpio["v1.0.0"], d.gpio["v1.1.0"] = none, none
			d.publish("v1.1.0")
			d.run()
			d.comes("committed", nil)
			d.quit()
			d.has("v1.0.0", "v1.1.0")
		},
		"a delta, and then there is none": func(d *updatable) {
			d.publish("v1.1.0", "v1.0.0")
			d.cfg.Update.NeverFullDownload = true
			d.run()
			d.comes("committed", nil)
			d.publish("v1.2.0")
			d.command("update-check", `{}`)
			d.comes("idle", func(u control.Update) bool { return strings.Contains(u.Reason, "must not be fetched over this link") })
			d.publish("v1.3.0", "v1.1.0") // which an update has written
			d.command("update-check", `{}`)
			d.comes("committed", func(u control.Update) bool { return u.InstalledVersion == "v1.3.0" })
			d.quit()
			d.has("v1.0.0", "v1.1.0", "v1.3.0")
			if slices.ContainsFunc(d.fetched, func(f string) bool { return !strings.Contains(f, ".delta") }) {
				d.t.Errorf("fetched %q", d.fetched)
			}
		},
		"it is cancelled": func(d *updatable) {
			d.publish("v1.1.0")
			d.cfg.Update.BandwidthKbps = 200 // more than a minute
			d.run()
			d.comes("downloading", nil)
			d.mu.Lock()
			a := d.now
			d.mu.Unlock()
			d.lamp(a, "updating")
			d.command("update-cancel", `{}`)
			if u := d.comes("idle", nil); u.Reason != "cancelled by somebody at the device" || u.InProgress {
				d.t.Errorf("%+v", u)
			}
			d.quit()
			d.has("v1.0.0")
		},
		"a restart in the middle of it": func(d *updatable) {
			d.publish("v1.1.0")
			d.cfg.Update.BandwidthKbps = 200 // more than a minute
			d.run()
			d.comes("downloading", func(u control.Update) bool { return *u.UpdatePercentage >= 5 })
			d.quit()
			d.cfg.Update.BandwidthKbps = 0
			d.run()
			d.comes("committed", nil)
			d.quit()
			d.has("v1.0.0", "v1.0.0", "v1.1.0")
			if len(d.fetched) != 2 || d.fetched[0] != "v1.1.0.img " || !strings.HasPrefix(d.fetched[1], "v1.1.0.img bytes=") {
				d.t.Errorf("fetched %q", d.fetched)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			act(newUpdatable(t))
		})
	}
}
