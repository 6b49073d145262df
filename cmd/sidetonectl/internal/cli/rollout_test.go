package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"sidetone/cmd/internal/subcommand"
	"sidetone/ota"
	"sidetone/ota/release"
	"sidetone/ota/rollout"
	"sidetone/provisioning/broker/mqtt"
)

const patience = 60 * time.Second

// fleet is a broker with devices of board rpi4 on it, which run v1.0.0.
type fleet struct {
	desk
	broker *mqtt.Broker
	url    string
}

func newFleet(d desk, devices int) *fleet {
	d.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	d.must(err)
	f := &fleet{desk: d, url: "mqtt://" + l.Addr().String()}
	f.broker, err = mqtt.New(mqtt.Config{TCP: l, Admin: "op",
		Login:  func(user, password string) bool { return user == "op" && password == "secret" },
		IsUser: func(string) bool { return true }, Logger: slog.New(slog.DiscardHandler)})
	d.must(err)
	d.Cleanup(f.broker.Close)
	for n := range devices {
		f.publish(n, "birth", map[string]string{"board": "rpi4"})
		f.publish(n, "status", "online")
		f.says(n, rollout.Report{Installed: "v1.0.0", Latest: "v1.0.0", Phase: ota.Idle})
	}
	d.must(os.WriteFile("password", []byte("secret\n"), 0o600))
	return f
}

func (f *fleet) publish(n int, what string, v any) {
	f.Helper()
	b, is := v.(string)
	if !is {
		j, err := json.Marshal(v)
		f.must(err)
		b = string(j)
	}
	f.must(f.broker.Publish(fmt.Sprintf("sidetone/v1/home/door%d/up/%s", n, what), []byte(b), true))
}

func (f *fleet) says(n int, r rollout.Report) { f.Helper(); f.publish(n, "state/update", r) }

// rolling starts a roll-out; end waits for it.
func (f *fleet) rolling(ctx context.Context, flags string) (end func() (code int, out, errOut string)) {
	f.Helper()
	var o, e bytes.Buffer
	code := make(chan int, 1)
	line := "rpi4 --key timestamp.key --mqtt " + f.url + " --user op --password-file password --fleet home --stage 0s " + flags
	var wg sync.WaitGroup
	wg.Go(func() { code <- rollOut(ctx, subcommand.Env{Out: &o, Err: &e}, strings.Fields(line)) })
	f.Cleanup(wg.Wait)
	return func() (int, string, string) {
		f.Helper()
		select {
		case c := <-code:
			return c, o.String(), e.String()
		case <-time.After(patience):
			f.Fatal("the roll-out has no end")
			return 0, "", ""
		}
	}
}

// offered waits until the release is offered to a share of the fleet.
func (f *fleet) offered(share float64) {
	f.Helper()
	for limit := time.Now().Add(patience); time.Now().Before(limit); time.Sleep(20 * time.Millisecond) {
		if t, err := (release.Repository{Dir: "updates"}).Current("rpi4"); err == nil && t.Share == share {
			return
		}
	}
	f.Fatalf("it is not offered to %g", share)
}

// A roll-out goes on with those that took the release well, and ends when all have.
func TestRollout(t *testing.T) {
	d := opened(t)
	d.image("v2.img")
	d.does("release rpi4 v2.0.0 v2.img --share 0 --key .")
	f := newFleet(d, 4)
	end := f.rolling(t.Context(), "--shares 50,100")
	f.offered(0.5)
	now, err := release.Repository{Dir: "updates"}.Current("rpi4")
	d.must(err)
	done := rollout.Report{Installed: "v2.0.0", Latest: "v2.0.0", Phase: ota.Committed}
	first := 0
	for n := range 4 {
		if now.Includes(fmt.Sprint("door", n)) {
			f.says(n, done)
			first++
		}
	}
	if first == 0 || first == 4 {
		t.Fatalf("%d of 4 devices are in the half of the fleet", first)
	}
	f.offered(1)
	for n := range 4 {
		f.says(n, done)
	}
	code, out, errOut := end()
	if code != subcommand.OK || !strings.Contains(out, "from 50 % to 100 % of the fleet") || !strings.Contains(out, "4 succeeded, 0 failed") {
		t.Errorf("%d\n%s%s", code, out, errOut)
	}
	d.does("verify --board rpi4 --running v1.0.0", "takes v2.0.0")
}

// One of two that took it is back on the old system: the release is withdrawn, and the exit code says so.
func TestRolloutStops(t *testing.T) {
	d := opened(t)
	d.image("v2.img")
	d.does("release rpi4 v2.0.0 v2.img --share 0 --key .")
	f := newFleet(d, 10)
	end := f.rolling(t.Context(), "--shares 60,100 --max-failures 20 --min-reports 5")
	f.offered(0.6)
	f.says(0, rollout.Report{Installed: "v2.0.0", Latest: "v2.0.0", Phase: ota.Committed})
	f.says(1, rollout.Report{Installed: "v1.0.0", Latest: "v2.0.0", Phase: ota.RolledBack, NotAgain: true})
	code, out, errOut := end()
	if code != Stopped || !strings.Contains(errOut, "stopped at 60 % of the fleet: 1 of 5 updates failed (2 ended), which is 20 % or more. v2.0.0 is offered to nobody now") {
		t.Errorf("%d\n%s%s", code, out, errOut)
	}
	f.offered(0)
	d.does("verify --board rpi4 --running v1.0.0", "offered to nobody")
}

// Whoever interrupts it, or lacks what it needs, is told how things stand.
func TestRolloutRefuses(t *testing.T) {
	d := opened(t)
	f := newFleet(d, 2)
	ctx, cancel := context.WithCancel(t.Context())
	end := f.rolling(ctx, "--shares 100 --stage 1h")
	cancel()
	if code, _, errOut := end(); code != subcommand.Failed || !strings.Contains(errOut, "stays offered to 100 % of the fleet") {
		t.Errorf("%d %s", code, errOut)
	}
	d.fails("rollout rpi4 --key timestamp.key", "by --mqtt URL")
	d.fails("rollout rpi3 --key timestamp.key --mqtt "+f.url, `no release for board "rpi3"`)
	d.fails("rollout rpi4 --key root.key --mqtt "+f.url, "names for timestamp")
	d.fails("rollout rpi4 --key timestamp.key --user op --mqtt "+f.url, f.url, "does not let us in", "--password-file")
	d.fails("rollout rpi4 --key timestamp.key --shares 10,5 --mqtt "+f.url, "shares grow")
	d.fails("rollout rpi4 --key timestamp.key --max-failures 0 --mqtt "+f.url, "failure rate of 0")
}
