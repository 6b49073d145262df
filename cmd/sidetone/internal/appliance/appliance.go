// Package appliance is the device's composition root: it builds the parts from the config, carries events between
// them, and owns the order in which they start and stop. Only main's sub-commands import it.
package appliance

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"sidetone/audio"
	"sidetone/audio/device"
	"sidetone/audio/dsp"
	"sidetone/board/gpio"
	"sidetone/board/indicator"
	"sidetone/board/watchdog"
	"sidetone/cmd/sidetone/internal/control"
	"sidetone/cmd/sidetone/internal/update"
	"sidetone/provisioning/config"
	"sidetone/provisioning/fleet"
	"sidetone/provisioning/identity"
	"sidetone/rtc/call"
	"sidetone/rtc/media"
	"sidetone/rtc/verto"

	"github.com/google/uuid"
)

// Options are what an appliance is made of.
type Options struct {
	Config  *config.Config
	Version string
	Built   time.Time // when the program was built: it is no earlier than that; zero: not known
	Logger  *slog.Logger
	// Solo is one call beside whatever else runs for this device: an MQTT client id of its own, no last will, no birth,
	// no control socket.
	Solo bool
	// Lamp is told each change of the indicator; may be nil.
	Lamp func(indicator.Pattern)
	GPIO gpio.System // where buttons and lamp are; nil: the kernel
}

// Appliance is the whole device.
type Appliance struct {
	opt     Options
	cfg     *config.Config
	log     *slog.Logger
	started time.Time

	clock    *identity.Clock // for all that verifies certificates
	secrets  *identity.SecretFiles
	identity identity.Source // nil: the line logs in to an assistant, without credentials
	line     *verto.Client
	servers  []media.ICEServer // from the config; nil: it has none to say
	engine   *media.Engine
	calls    *call.Manager
	fleet    *fleet.Agent // nil: no broker is set
	sound    *sound
	noSound  verto.Condition // why the device does not open; the goroutine of sound has it
	cardGone atomic.Bool     // the device does not open
	chain    *dsp.Chain      // nil: sound is never processed
	voices   voices
	tones    tones
	ringing  atomic.Int32 // percent: how loud a call rings now
	volumes  volumes
	reports  reportFiles
	outbox   *outbox
	debug    *debugOutput
	watchers watchers
	gpio     *gpio.Host
	lamp     *indicator.Lamp    // nil: there is none
	manager  *watchdog.Notifier // nil: no service manager started us
	door     *doorway           // nil: it has none

	updates    *update.Updater // nil: no repository is set
	updated    chan struct{}   // they have come further
	toldUpdate string          // of the last event; the updater's goroutine has it

	commands sync.WaitGroup

	// in
	requests chan func() // run by the loop, which owns view
	view     view
	ended    chan struct{} // closed when the loop has ended

	lastReset atomic.Pointer[string] // why the board was reset before; nil: not known

	reset     sync.Once
	resetting chan struct{} // closed when the device is to end and to forget

	restarts chan func() error // ends Run; what it gets is done last of all
}

// New builds the parts; nothing is opened but files.
func New(opt Options) (*Appliance, error) {
	cfg := opt.Config
	a := &Appliance{
		opt: opt, cfg: cfg, started: time.Now(),
		requests: make(chan func()),
		ended:    make(chan struct{}), resetting: make(chan struct{}),
		updated: make(chan struct{}, 1), restarts: make(chan func() error, 1),
		view: view{calls: map[string]call.Info{}, samples: map[string]int{}},
	}
	a.log = slog.New(callLog{next: opt.Logger.Handler(), write: a.writeLog})
	if opt.GPIO == nil {
		opt.GPIO = gpio.Kernel{}
	}
	a.gpio = gpio.NewHost(opt.GPIO)
	a.secrets = identity.NewSecretFiles(a.log)
	var err error
	lineRoots, err := config.Roots(cfg.Line.CAFile)
	if err != nil {
		return nil, fmt.Errorf("line.%w", err)
	}
	a.clock = identity.NewClock(opt.Built)
	a.clock.Certificates(cfg.Line.CAFile, cfg.Line.ClientCertFile, cfg.ICE.CAFile, cfg.MQTT.CAFile, cfg.Update.CAFile)
	if cfg.Assistant.TargetID == "" {
		a.identity, err = identity.New(identity.Config{
			Line: cfg.Line, StateDir: cfg.Device.StateDir, Roots: lineRoots, Clock: a.clock, Warn: a.warn, Logger: a.log,
		})
		if err != nil {
			return nil, err
		}
	}
	iceRoots, err := config.Roots(cfg.ICE.CAFile)
	if err != nil {
		return nil, fmt.Errorf("ice.%w", err)
	}
	if a.servers, err = configuredServers(a.secrets, cfg.ICE.Servers); err != nil {
		return nil, err
	}
	a.engine, err = media.NewEngine(media.Config{
		Policy: cfg.ICE.Policy, RootCAs: iceRoots, Now: a.clock.Now, Loopback: cfg.ICE.Loopback, Logger: a.log,
	})
	if err != nil {
		return nil, err
	}
	a.line = verto.NewClient(a.lineConfig(lineRoots))
	a.keepReports()
	a.calls = call.NewManager(a.callConfig())
	if a.fleet, err = a.newFleet(); err != nil {
		return nil, err
	}
	if a.tones, err = newTones(cfg.Tones); err != nil {
		return nil, err
	}
	a.volumes.file = volumeFile(cfg.Device.StateDir)
	if err := a.volumes.load(); err != nil {
		a.log.Warn("the volumes that were set are lost; those of the config count", "err", err)
	}
	if err := a.newDoor(); err != nil {
		return nil, err
	}
	if err := a.newUpdates(); err != nil {
		return nil, err
	}
	a.sound = newSound(soundDeviceOf(cfg.Audio.Capture, cfg.Audio.Playback), a.log)
	a.sound.failed, a.sound.prepare = a.onSound, newMixers(cfg.Audio.Mixer, a.log).set
	a.sound.amplifier = newAmplifier(cfg.Audio, a.gpio, a.log)
	if cfg.Audio.Processing != "off" {
		if a.chain, err = dsp.NewChain(dsp.Config{Canceller: a.canceller(), Gain: cfg.Audio.AutoGain}); err != nil {
			return nil, err
		}
		a.sound.played = a.processing(a.chain.Played)
	}
	return a, nil
}

// canceller names the echo canceller that the config wants.
func (a *Appliance) canceller() string {
	if a.cfg.Audio.Canceller != "auto" {
		return a.cfg.Audio.Canceller
	}
	return dsp.CancellerKalman
}

// processing lets f have a frame while the device in use is one to be processed.
func (a *Appliance) processing(f func(*audio.Frame)) func(*audio.Frame) {
	return func(frame *audio.Frame) {
		if a.cfg.Audio.Processing == "on" || a.sound.device.Load().card {
			f(frame)
		}
	}
}

// Run is the device, until ctx ends or it is reset. Shutdown goes from the calls outwards: calls say bye and report, reports leave,
// then line, broker, sound and socket close; each step is bounded.
func (a *Appliance) Run(ctx context.Context) error {
	var socket net.Listener
	if !a.opt.Solo {
		var err error
		if socket, err = control.Listen(a.cfg.Control.Socket); err != nil {
			return err
		}
		a.newManager()
		defer a.manager.Close()
	}
	// The parts outlive ctx, each until its turn in the shutdown.
	base := context.WithoutCancel(ctx)
	var uploads, calls, line, login, network, broker, amplifier, sound, keys, local, buttons, lamp, relays, inputs, guard, doctor, updates part
	uploads.start(base, a.outbox.run)
	calls.start(base, func(ctx context.Context) { a.calls.Run(ctx) })
	line.start(base, func(ctx context.Context) { a.line.Run(ctx) })
	login.start(base, a.keepLogin)
	network.start(base, a.watchNetwork)
	if a.sound.amplifier != nil {
		amplifier.start(base, a.sound.amplifier.run)
	}
	a.sound.watch = device.WatchCards
	sound.start(base, a.sound.run)
	if !a.opt.Solo {
		keys.start(base, a.watchSpeakerphone)
	}
	if a.fleet != nil {
		a.announce()
		broker.start(base, func(ctx context.Context) { a.fleet.Run(ctx) })
	}
	if socket != nil {
		local.start(base, func(ctx context.Context) {
			if err := control.Serve(ctx, socket, a.cfg.Control.Socket, a, a.log); err != nil {
				a.log.Error("control socket failed", "err", err)
			}
		})
	}
	if !a.opt.Solo { // who runs beside has them
		if a.lamp = a.openLamp(a.cfg.Board.LED); a.lamp != nil {
			lamp.start(base, a.lamp.Run)
		}
		buttons.start(base, a.watchButtons)
	}
	if a.door != nil {
		relays.start(base, a.door.relays.Run)
		inputs.start(base, a.watchInputs)
	}
	go a.loop(base)
	var dog *watchdog.Watchdog
	if !a.opt.Solo {
		dog = a.newWatchdog(nil)
		guard.start(base, dog.Run)
		doctor.start(base, a.watchHealth)
		if a.updates != nil {
			updates.start(base, a.updates.Run)
		}
		a.manager.Tell("READY=1")
	}

	var after func() error // what is done last of all
	select {
	case <-ctx.Done():
		a.log.Info("shutting down")
	case after = <-a.restarts:
		a.log.Info("shutting down, to be started again by an update")
	case <-a.resetting:
		a.log.Warn("a button was held: the device forgets what it has learnt, and ends to be started again")
	}
	a.manager.Tell("STOPPING=1")
	guard.stop() // what follows must end before the board resets
	updates.stop()
	doctor.stop()
	buttons.stop()
	keys.stop()
	network.stop()
	inputs.stop()
	calls.stop()
	login.stop()
	line.stop()
	<-a.ended // every report has been handed out
	relays.stop()
	a.watchers.end()
	a.commands.Wait()
	a.outbox.finish(uploadGrace)
	uploads.stop()
	a.debug.wait()
	if a.fleet != nil {
		flush, cancel := context.WithTimeout(base, flushGrace)
		if err := a.fleet.Flush(flush); err != nil {
			a.log.Warn("not all reports reached the broker; they go out at the next start", "err", err)
		}
		cancel()
	}
	broker.stop()
	sound.stop()
	amplifier.stop()
	if a.chain != nil {
		a.chain.Close()
	}
	local.stop()
	lamp.stop()
	// A system that is to boot anew does so by its watchdog, too: reboot(2) waits for disks, which may never answer.
	if dog != nil && (after == nil || a.cfg.Update.Boot == config.BootBinary) {
		dog.Close()
	}
	select {
	case <-a.resetting:
		return forget(a.cfg.Device.StateDir)
	default:
	}
	if after != nil {
		return after()
	}
	return nil
}

// Bounds of the last steps. A device is restarted by people and by watchdogs: both want it gone within a second.
const (
	uploadGrace = 150 * time.Millisecond
	flushGrace  = 200 * time.Millisecond
)

// part is one long-running part of the device, with its end.
type part struct {
	cancel context.CancelFunc
	done   chan struct{}
}

func (p *part) start(ctx context.Context, run func(context.Context)) {
	ctx, p.cancel = context.WithCancel(ctx)
	p.done = make(chan struct{})
	go func() {
		defer close(p.done)
		run(ctx)
	}()
}

// stop ends the part and waits for it. A part that was never started has none to wait for.
func (p *part) stop() {
	if p.done != nil {
		p.cancel()
		<-p.done
	}
}

// configuredServers reads the passwords of the configured ICE servers from their files. Nil stays nil.
func configuredServers(files *identity.SecretFiles, in []config.ICEServer) ([]media.ICEServer, error) {
	if in == nil {
		return nil, nil
	}
	out := []media.ICEServer{}
	for i, s := range in {
		m := media.ICEServer{URLs: s.URLs, Username: s.Username}
		if s.CredentialFile != "" {
			secret, err := files.Read(fmt.Sprintf("ice.servers[%d].credential_file", i), s.CredentialFile, "write this user's password there")
			if err != nil {
				return nil, err
			}
			m.Credential = secret.Reveal()
		}
		out = append(out, m)
	}
	return out, nil
}

func (a *Appliance) newFleet() (*fleet.Agent, error) {
	m := a.cfg.MQTT
	if m.URL == "" {
		return nil, nil
	}
	pool, err := config.Roots(m.CAFile)
	if err != nil {
		return nil, fmt.Errorf("mqtt.%w", err)
	}
	clientID := a.cfg.Device.Name
	if a.opt.Solo {
		clientID += "-call-" + uuid.NewString()[:8]
	}
	return fleet.New(fleet.Config{
		URL: m.URL, Fleet: a.cfg.Device.Fleet, Device: a.cfg.Device.Name, ClientID: clientID,
		Username: m.Username, Password: a.password(m.PasswordFile), RootCAs: pool, Now: a.clock.Now,
		Will: !a.opt.Solo, Dir: a.cfg.Device.StateDir, Logger: a.log,
	})
}

// password reads that for the broker from its file each time it is asked for, so that a new one needs no restart.
func (a *Appliance) password(file string) func() (string, error) {
	return func() (string, error) {
		if file == "" {
			return "", nil
		}
		secret, err := a.secrets.Read("mqtt.password_file", file, "write the password of mqtt.username there")
		return secret.Reveal(), err
	}
}
