// Package fleet is the device's end of the fleet's MQTT broker: its state goes up, commands come down, and the report
// of each call reaches the broker at least once, however long the network was away.
//
// Topics are below sidetone/v1/{fleet}/{device}. Retained values (birth, states) are published again after each
// reconnect, because a broker may have lost them. Reports and events wait in a spool until the broker has
// acknowledged them; whoever reads them tells repetitions by their id.
package fleet

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Config of an Agent.
type Config struct {
	URL      string // mqtt://host:1883 or mqtts://host:8883; the port may be left out
	Fleet    string // [a-z0-9-]+
	Device   string // [a-z0-9-]+
	ClientID string // "": Device, and without Will something random after it
	Username string
	Password func() (string, error) // asked before each connect; nil: none
	RootCAs  *x509.CertPool         // for mqtts; nil: the system's
	Now      func() time.Time       // by which its certificate is verified; nil: time.Now
	// Will makes this agent the device itself: it holds the last will, says online and offline, keeps its session
	// at the broker and takes commands. Without it the agent never touches up/status and takes no commands.
	Will   bool
	Dir    string // reports and events wait in Dir/spool; "": in memory only
	Logger *slog.Logger
}

// Reply answers a command, on up/reply/{id}.
type Reply struct {
	OK     bool   `json:"ok"`
	Code   int    `json:"code,omitempty"`
	Error  string `json:"error,omitempty"`
	Result any    `json:"result,omitempty"`
}

// Status is what the agent knows of its own connection.
type Status struct {
	Connected bool      `json:"connected"`
	Since     time.Time `json:"since,omitzero"`    // of Connected, whichever it is
	Error     string    `json:"error,omitempty"`   // why not connected
	Waiting   int       `json:"waiting,omitempty"` // reports and events not yet acknowledged
}

// What waits in memory is bounded; states are bounded by their number of kinds.
const (
	maxReplies = 64 // unsent replies kept; then the oldest go
	maxQueue   = 64 // messages waiting; beyond it only the last value of each state is kept
)

// Agent is one connection to the broker, kept up until Run ends. Its methods may be called from any goroutine, before
// Run too, and never wait for the network.
type Agent struct {
	config   Config
	root     string // of all topics, ends in a slash
	address  string // host:port
	tls      bool
	timing   timing
	log      *slog.Logger
	commands chan Command
	spool    *spool
	wake     chan struct{} // something waits to be sent

	mu       sync.Mutex
	running  bool
	ended    bool
	online   bool // connected and greeted: states go out as they come
	status   Status
	retained []*retained // birth first
	queue    []message
	loose    int           // under way, and neither retained nor spooled
	changed  chan struct{} // closed and replaced when something was acknowledged
}

// retained is the last value of a retained topic.
type retained struct {
	topic   string
	payload []byte
	version uint64 // counts the values given
	acked   uint64 // the last version that the broker has
}

// message is one publication that waits or is under way.
type message struct {
	topic   string // below the root
	payload []byte
	qos     byte
	retain  bool
	value   *retained // whose version it is
	version uint64
	entry   *entry // of the spool
	isReply bool
}

var segment = regexp.MustCompile(`^[a-z0-9-]+$`)

const birthTopic, statusTopic = "up/birth", "up/status"

// New checks the config and reads what is left in the spool. It does not connect.
func New(c Config) (*Agent, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	for name, value := range map[string]string{"fleet": c.Fleet, "device": c.Device} {
		if !segment.MatchString(value) {
			return nil, fmt.Errorf("mqtt: the %s %q must be lower-case letters, digits and hyphens, as it is part of topics", name, value)
		}
	}
	if c.ClientID == "" {
		c.ClientID = c.Device
		if !c.Will {
			// A second connection by the same id would throw out the first.
			c.ClientID += "-" + uuid.NewString()[:8]
		}
	}
	a := &Agent{
		config:   c,
		root:     "sidetone/v1/" + c.Fleet + "/" + c.Device + "/",
		timing:   defaultTiming,
		log:      c.Logger.With("part", "mqtt"),
		commands: make(chan Command, 16),
		wake:     make(chan struct{}, 1),
		changed:  make(chan struct{}),
		status:   Status{Since: time.Now(), Error: "not connected yet"},
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Hostname() == "" || u.Scheme != "mqtt" && u.Scheme != "mqtts" {
		return nil, fmt.Errorf("mqtt: the broker's url must be mqtts://HOST or mqtt://HOST, not %q", c.URL)
	}
	a.tls = u.Scheme == "mqtts"
	a.address = hostPort(u, a.tls)
	dir := ""
	if c.Dir != "" {
		dir = filepath.Join(c.Dir, "spool")
	}
	a.spool = openSpool(dir, a.log)
	return a, nil
}

// Run keeps the connection until ctx ends; then it hands out what waits, says offline and disconnects, within 1 s.
// It runs once, and its error is only that it ran already.
func (a *Agent) Run(ctx context.Context) error {
	a.mu.Lock()
	if a.running {
		a.mu.Unlock()
		return errors.New("mqtt: the agent runs already")
	}
	a.running = true
	a.mu.Unlock()

	a.keep(ctx)
	a.mu.Lock()
	a.ended = true
	a.status = Status{Since: time.Now(), Error: "ended"}
	a.progress()
	a.mu.Unlock()
	return nil
}

// Birth publishes v on up/birth, retained, before online is said; and again after each reconnect.
func (a *Agent) Birth(v any) { a.retain(birthTopic, v) }

// State publishes v on up/state/{kind}, retained, in the order given. While offline only the last value of each kind
// is kept.
func (a *Agent) State(kind string, v any) { a.retain("up/state/"+kind, v) }

func (a *Agent) retain(topic string, v any) {
	payload, err := json.Marshal(v)
	if err != nil {
		a.log.Error("state cannot be told", "topic", topic, "err", err)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.value(topic)
	r.payload = payload
	r.version++
	if a.online {
		a.enqueue(r.message())
	}
}

// value finds the retained value of a topic or makes it.
func (a *Agent) value(topic string) *retained {
	for _, r := range a.retained {
		if r.topic == topic {
			return r
		}
	}
	r := &retained{topic: topic}
	if topic == birthTopic {
		a.retained = append([]*retained{r}, a.retained...)
	} else {
		a.retained = append(a.retained, r)
	}
	return r
}

func (r *retained) message() message {
	return message{topic: r.topic, payload: r.payload, qos: 1, retain: true, value: r, version: r.version}
}

// Event publishes v on up/event/{kind}, at least once. v must be a JSON object or nil; id, ts and event_type are
// added where v has none.
func (a *Agent) Event(kind string, v any) {
	payload, err := object(v, stamp(map[string]any{"event_type": kind}))
	if err != nil {
		a.log.Error("event cannot be told", "event", kind, "err", err)
		return
	}
	// Not forced to disk: an event is lost with the power within seconds of it, and no caller waits for the card.
	if err := a.spool.add("up/event/"+kind, payload, false); err != nil {
		a.log.Warn("event is kept in memory only", "event", kind, "err", err)
	}
	a.poke()
}

// Live publishes v on up/stats/live, and forgets it when there is no connection.
func (a *Agent) Live(v any) {
	payload, err := json.Marshal(v)
	if err != nil {
		a.log.Error("live stats cannot be told", "err", err)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.online && len(a.queue) < maxQueue {
		a.enqueue(message{topic: "up/stats/live", payload: payload})
	}
}

// CallReport publishes v on up/stats/call, at least once: when it returns nil the report is on disk, if there is a
// Dir. After an error it is kept in memory, and still sent. v must be a JSON object; id, ts and call_id are added
// where v has none.
func (a *Agent) CallReport(callID string, v any) error {
	payload, err := object(v, stamp(map[string]any{"call_id": callID}))
	if err != nil {
		return fmt.Errorf("report of call %s: %w", callID, err)
	}
	err = a.spool.add("up/stats/call", payload, true)
	a.poke()
	if err != nil {
		return fmt.Errorf("report of call %s is kept in memory only: %w", callID, err)
	}
	return nil
}

// Commands gives what came down, for an agent with Will. It is closed when Run has ended. Commands that nobody takes
// are refused as busy.
func (a *Agent) Commands() <-chan Command { return a.commands }

// Reply answers the command of that id, at the latest when the connection is back.
func (a *Agent) Reply(id string, r Reply) {
	payload, err := json.Marshal(r)
	if err != nil {
		payload, _ = json.Marshal(Reply{Code: r.Code, Error: fmt.Sprintf("the result cannot be told: %v", err)})
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	replies, oldest := 0, -1
	for i, m := range a.queue {
		if m.isReply {
			if replies++; oldest < 0 {
				oldest = i
			}
		}
	}
	if replies >= maxReplies {
		a.log.Warn("too many replies wait; the oldest is dropped", "topic", a.queue[oldest].topic)
		a.queue = append(a.queue[:oldest], a.queue[oldest+1:]...)
	}
	a.enqueue(message{topic: "up/reply/" + id, payload: payload, qos: 1, isReply: true})
}

// Flush waits until what was given has been acknowledged by the broker, or ctx ends: then its error says what still
// waits.
func (a *Agent) Flush(ctx context.Context) error {
	for {
		a.mu.Lock()
		waiting, ended, changed, why := a.waiting(), a.ended, a.changed, a.status.Error
		a.mu.Unlock()
		switch {
		case waiting == 0:
			return nil
		case ended:
			return fmt.Errorf("mqtt: ended with %d messages not sent", waiting)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if why != "" {
				why = " (" + why + ")"
			}
			return fmt.Errorf("mqtt: %d messages wait for the broker, %d of them in the spool%s: %w", waiting, a.spool.len(), why, ctx.Err())
		}
	}
}

// Status tells how the connection is.
func (a *Agent) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.status
	s.Waiting = a.spool.len()
	return s
}

// The following are called with mu held.

func (a *Agent) enqueue(m message) {
	if len(a.queue) >= maxQueue && m.value != nil {
		// Too slow to tell all that happened: only how it stands now.
		kept := a.queue[:0]
		for _, q := range a.queue {
			if q.value != m.value {
				kept = append(kept, q)
			}
		}
		a.queue = kept
	}
	a.queue = append(a.queue, m)
	a.poke()
}

// waiting counts what the broker does not have yet.
func (a *Agent) waiting() int {
	n := a.spool.len() + a.loose
	for _, m := range a.queue {
		if m.value == nil {
			n++
		}
	}
	for _, r := range a.retained {
		if r.acked < r.version {
			n++
		}
	}
	return n
}

// progress wakes those who wait in Flush.
func (a *Agent) progress() {
	close(a.changed)
	a.changed = make(chan struct{})
}

// poke tells the loop that something waits.
func (a *Agent) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}
