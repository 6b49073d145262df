package cli

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"sidetone/cmd/internal/subcommand"
	"sidetone/ota/release"
	"sidetone/ota/rollout"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// rollOut watches a fleet over MQTT and offers a board's release to more and more of it, or takes it back.
func rollOut(ctx context.Context, e subcommand.Env, args []string) int {
	set := subcommand.Flags(e, "sidetonectl rollout")
	repo, signers := repository(set), keyFlag(set)
	var w watch
	set.StringVar(&w.url, "mqtt", "", "the fleet's broker, as `URL`: mqtts://host:8883")
	set.StringVar(&w.user, "user", "", "the `user` there, who may read what devices say")
	password := set.String("password-file", "", "a `file` with that user's password")
	set.StringVar(&w.ca, "ca", "", "the CA that the broker's certificate is verified by, a PEM `file` (default: the system's)")
	set.StringVar(&w.fleet, "fleet", "default", "the `name` of the fleet")
	shares := set.String("shares", "1,10,100", "the `percentages` of the fleet, one after the other")
	rate := set.String("max-failures", "2", "the `percentage` of failed updates at which it stops")
	p := rollout.Plan{Stage: 24 * time.Hour, Silence: 30 * time.Minute}
	set.IntVar(&p.Reports, "min-reports", 50, "how many updates have to have ended before it goes on; the percentage is never taken of fewer")
	set.Func("stage", "a share lasts at least so `long` (default 24h)", func(s string) (err error) { p.Stage, err = duration(s); return err })
	set.Func("silence", "a device that says nothing for so `long` after it was to boot has failed (default 30m)", func(s string) (err error) { p.Silence, err = duration(s); return err })
	valid := 7 * 24 * time.Hour
	set.Func("valid", "how `long` a stamp is good; it is made anew in time (default 7d)", func(s string) (err error) { valid, err = duration(s); return err })
	words, code, ok := subcommand.Parse(e, set, args, 1, 1)
	if !ok {
		return code
	}
	var err error
	if p.FailureRate, err = share(*rate); err != nil {
		return tool.Fail(e, subcommand.Usage, err)
	}
	for _, s := range strings.Split(*shares, ",") {
		part, err := share(s)
		if err != nil {
			return tool.Fail(e, subcommand.Usage, err)
		}
		p.Shares = append(p.Shares, part)
	}
	if err := p.Check(); err != nil {
		return tool.Fail(e, subcommand.Usage, err)
	}
	if w.url == "" {
		return tool.Fail(e, subcommand.Usage, errors.New("rollout: say where devices report, by --mqtt URL"))
	}
	if *password != "" {
		b, err := os.ReadFile(*password)
		if err != nil {
			return tool.Fail(e, subcommand.Failed, err)
		}
		w.password = strings.TrimSpace(string(b))
	}
	return w.roll(ctx, e, words[0], *repo, *signers, p, valid)
}

// roll carries the plan out.
func (w *watch) roll(ctx context.Context, e subcommand.Env, board string, repo release.Repository, signers []ed25519.PrivateKey, p rollout.Plan, valid time.Duration) int {
	targets, err := repo.Current(board)
	if err != nil {
		return tool.Fail(e, subcommand.Failed, err)
	}
	var stamped time.Time
	offer := func(share float64) error {
		stamped = time.Now()
		_, err := repo.Offer(map[string]release.Offer{board: {Share: share, Version: targets.Version}}, stamped.Add(valid), signers...)
		return err
	}
	if err := offer(targets.Share); err != nil { // now, not when the fleet waits for it
		return tool.Fail(e, subcommand.Failed, err)
	}
	w.devices = rollout.NewFleet(targets)
	stop, err := w.listen()
	if err != nil {
		return tool.Fail(e, subcommand.Failed, fmt.Errorf("%s: %w", w.url, err))
	}
	defer stop()
	r := rollout.Rollout{Plan: p, Fleet: w.devices, Share: targets.Share, Offer: offer, Began: time.Now()}
	if r.Share < p.Shares[0] {
		r.Began = r.Began.Add(-p.Stage)
	}
	fmt.Fprintf(e.Out, "%s for %s, offered to %s of the fleet\n", targets.Release, board, percent(targets.Share))
	look := time.NewTicker(settle)
	defer look.Stop()
	for said := ""; ; {
		select {
		case <-ctx.Done():
			fmt.Fprintf(e.Err, "sidetonectl: interrupted: %s stays offered to %s of the fleet; the same command goes on with it\n", targets.Release, percent(r.Share))
			return subcommand.Failed
		case <-look.C:
		}
		now := time.Now()
		if now.Sub(stamped) > valid/2 {
			err = offer(r.Share)
		}
		if err == nil && !w.hears.Load() { // what is not heard may be failures
			said = w.say(e, said, "the broker does not answer; nothing goes on until it does")
			continue
		}
		before := r.Share
		d := rollout.Decision{}
		if err == nil {
			d, err = r.Tick(now)
		}
		if err != nil {
			return tool.Fail(e, subcommand.Failed, fmt.Errorf("%w; %s stays offered to %s of the fleet", err, targets.Release, percent(r.Share)))
		}
		count := w.devices.Count(before, now, p.Silence)
		switch d.Act {
		case rollout.Wait:
			said = w.say(e, said, count.String())
		case rollout.Raise:
			w.say(e, "", fmt.Sprintf("%s: from %s to %s of the fleet", count, percent(before), percent(d.Share)))
		case rollout.Done:
			w.say(e, "", fmt.Sprintf("%s: done, %s", count, d.Reason))
			return subcommand.OK
		case rollout.Stop:
			w.say(e, "", count.String())
			fmt.Fprintf(e.Err, "sidetonectl: stopped at %s of the fleet: %s. %s is offered to nobody now; devices that have it keep it\n", percent(before), d.Reason, targets.Release)
			return Stopped
		}
	}
}

// settle is the time between looks; before the first one the broker has sent what it keeps.
const settle = 2 * time.Second

// say prints a line with the time, unless it was the last one.
func (w *watch) say(e subcommand.Env, last, line string) string {
	if line != last {
		fmt.Fprintf(e.Out, "%s  %s\n", time.Now().Format(time.TimeOnly), line)
	}
	return line
}

// watch listens to a fleet.
type watch struct {
	url, user, password, ca, fleet string

	devices *rollout.Fleet
	hears   atomic.Bool // the broker is there, and has our subscription
}

// listen connects, and goes on to until stop is called.
func (w *watch) listen() (stop func(), err error) {
	roots, err := pool(w.ca)
	if err != nil {
		return nil, err
	}
	filter := "sidetone/v1/" + w.fleet + "/+/up/"
	filters := map[string]byte{filter + "status": 1, filter + "birth": 1, filter + "state/update": 1}
	host, _ := os.Hostname()
	options := mqtt.NewClientOptions().AddBroker(w.url).SetUsername(w.user).SetPassword(w.password).
		SetClientID(fmt.Sprintf("sidetonectl-%s-%d", cmp.Or(host, "rollout"), os.Getpid())).
		SetProtocolVersion(4).SetConnectTimeout(connectTimeout).SetMaxReconnectInterval(time.Minute).
		SetTLSConfig(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}).
		SetConnectionLostHandler(func(mqtt.Client, error) { w.hears.Store(false) }).
		SetOnConnectHandler(func(c mqtt.Client) {
			subscribed := c.SubscribeMultiple(filters, w.message)
			w.hears.Store(subscribed.WaitTimeout(connectTimeout) && subscribed.Error() == nil)
		})
	c := mqtt.NewClient(options)
	connected := c.Connect()
	if !connected.WaitTimeout(connectTimeout) {
		err = errors.New("the broker does not answer")
	} else {
		err = connected.Error()
	}
	if errors.Is(err, packets.ErrorRefusedNotAuthorised) || errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword) {
		err = errors.New("the broker does not let us in: say who may read what devices say, by --user and --password-file")
	}
	if err != nil {
		c.Disconnect(0)
		return nil, err
	}
	return func() { c.Disconnect(100) }, nil
}

const connectTimeout = 15 * time.Second

// message hears what a device says.
func (w *watch) message(_ mqtt.Client, m mqtt.Message) {
	device, topic, _ := strings.Cut(strings.TrimPrefix(m.Topic(), "sidetone/v1/"+w.fleet+"/"), "/")
	w.devices.Hear(device, topic, m.Payload(), time.Now())
}
