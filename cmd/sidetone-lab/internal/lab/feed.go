package lab

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"sidetone/cmd/sidetone-lab/internal/report"
	"sidetone/cmd/sidetone-lab/internal/web"
	"sidetone/provisioning/broker/mqtt"
)

// Bounds of what the page is fed with.
const (
	maxReports   = 20
	maxDevices   = 1000 // that ever spoke on MQTT
	replyTimeout = 5 * time.Second
	pressExpiry  = 10 * time.Second // a press that comes later than this is none
)

// feed is what the lab's page shows, gathered from what devices publish.
type feed struct {
	publish func(topic string, payload []byte, retain bool) error

	mu       sync.Mutex
	devices  map[string]*said
	reports  []report.Report // that devices published; the newest first
	uploads  map[string]upload
	watchers map[chan struct{}]bool
	replies  map[string]chan web.Reply // by the id of the command
}

// said is what one device published last.
type said struct {
	fleet  string
	status string
	birth  struct {
		Firmware string `json:"firmware"`
		Board    string `json:"board"`
	}
	line       string
	update     web.Update
	call, last *web.Call
	live       live
}

func newFeed(publish func(topic string, payload []byte, retain bool) error) *feed {
	return &feed{
		publish: publish, devices: map[string]*said{}, watchers: map[chan struct{}]bool{}, replies: map[string]chan web.Reply{},
	}
}

// upFilter is what the feed subscribes to.
const upFilter = "sidetone/v1/+/+/up/#"

// message takes what a device published. It does not block.
func (f *feed) message(m mqtt.Message) {
	levels := strings.SplitN(m.Topic, "/", 6)
	if len(levels) != 6 {
		return
	}
	fleet, device, what := levels[2], levels[3], levels[5]
	if id, ok := strings.CutPrefix(what, "reply/"); ok {
		f.reply(id, m.Payload)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.devices[device]
	if d == nil {
		if len(f.devices) == maxDevices {
			return
		}
		d = &said{}
		f.devices[device] = d
	}
	d.fleet = fleet
	switch what {
	case "status":
		d.status = string(m.Payload)
	case "birth":
		_ = json.Unmarshal(m.Payload, &d.birth) // what a device says wrongly of itself stays unknown
	case "state/line":
		var line struct {
			State string `json:"state"`
		}
		_ = json.Unmarshal(m.Payload, &line)
		d.line = line.State
	case "state/update":
		d.update = web.Update{} // of what the device leaves out
		_ = json.Unmarshal(m.Payload, &d.update)
	case "state/call":
		d.callState(m.Payload)
	case "stats/live":
		d.live.measured(m.Payload)
	case "stats/call":
		f.report(device, m.Payload)
	default:
		return
	}
	f.changed()
}

// callState takes a call's state as the call machine publishes it.
func (d *said) callState(payload []byte) {
	var in struct {
		ID          string          `json:"call_id"`
		State       json.RawMessage `json:"state"`
		Direction   string          `json:"direction"`
		Destination string          `json:"destination"`
		RemoteName  string          `json:"remote_name"`
		RemoteID    string          `json:"remote_number"`
		Created     time.Time       `json:"created"`
		Active      time.Time       `json:"active"`
		Ended       time.Time       `json:"ended"`
		Cause       string          `json:"cause"`
	}
	if json.Unmarshal(payload, &in) != nil || in.ID == "" {
		d.call = nil // "no call" in whatever words
		return
	}
	c := &web.Call{
		ID: in.ID, State: strings.Trim(string(in.State), `"`), Direction: in.Direction,
		Started: in.Created, Active: in.Active, Ended: in.Ended, Cause: in.Cause,
	}
	for _, peer := range []string{in.RemoteName, in.RemoteID, in.Destination} {
		if c.Peer == "" {
			c.Peer = peer
		}
	}
	if in.Direction == "outbound" && in.Destination != "" {
		c.Peer = in.Destination
	}
	switch c.State {
	case "hangup", "destroy", "purge":
		if d.call == nil || d.call.ID == c.ID {
			d.call = nil
		}
		d.last = c
	default:
		d.call = c
	}
}

// report takes a call report. Called with mu held. The same report may come twice: it is delivered at least once.
func (f *feed) report(device string, payload []byte) {
	r, err := report.Parse(payload)
	if err != nil {
		return
	}
	r.Device = device
	f.reports = slices.DeleteFunc(f.reports, func(have report.Report) bool {
		return have.Device == device && have.CallID == r.CallID
	})
	f.reports = slices.Insert(f.reports, 0, r)
	f.reports = f.reports[:min(len(f.reports), maxReports)]
}

// changed tells everyone who watches. Called with mu held.
func (f *feed) changed() {
	for w := range f.watchers {
		select {
		case w <- struct{}{}:
		default: // it has one waiting
		}
	}
}

// touch tells everyone who watches that something changed elsewhere.
func (f *feed) touch() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changed()
}

// watch gives a value after each change until ctx ends.
func (f *feed) watch(ctx context.Context) <-chan struct{} {
	w := make(chan struct{}, 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watchers[w] = true
	context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.watchers, w)
	})
	return w
}

func (f *feed) reply(id string, payload []byte) {
	f.mu.Lock()
	waiting := f.replies[id]
	delete(f.replies, id)
	f.mu.Unlock()
	if waiting == nil {
		return
	}
	var r web.Reply
	if err := json.Unmarshal(payload, &r); err != nil {
		r = web.Reply{Error: "the device's reply is not JSON"}
	}
	waiting <- r // it has room for the one reply
}

// press sends a device the command to press a button, not retained, and waits for its reply.
func (f *feed) press(ctx context.Context, device, button string) (web.Reply, error) {
	f.mu.Lock()
	d := f.devices[device]
	if d == nil || d.status != "online" {
		f.mu.Unlock()
		return web.Reply{}, fmt.Errorf("%w: %s is not online", web.ErrBadRequest, device)
	}
	fleet, id, got := d.fleet, rand.Text(), make(chan web.Reply, 1)
	f.replies[id] = got
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.replies, id)
	}()
	body, err := json.Marshal(map[string]any{
		"id": id, "exp": time.Now().Add(pressExpiry).Unix(), "by": "lab page", "args": map[string]string{"button": button},
	})
	if err != nil {
		return web.Reply{}, err
	}
	if err := f.publish("sidetone/v1/"+fleet+"/"+device+"/down/cmd/press", body, false); err != nil {
		return web.Reply{}, fmt.Errorf("the command could not be published: %w", err)
	}
	select {
	case r := <-got:
		return r, nil
	case <-ctx.Done():
		return web.Reply{}, ctx.Err()
	case <-time.After(replyTimeout):
		return web.Reply{}, errors.New(device + " did not reply")
	}
}
