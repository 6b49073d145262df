package fleet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// timing is every wait of an agent.
type timing struct {
	connect   time.Duration // TCP, TLS and CONNACK together
	keepAlive time.Duration
	ping      time.Duration // for the answer to a ping
	write     time.Duration // for the kernel to take a message
	ack       time.Duration // for the broker to acknowledge one; then the client is thrown away
	late      time.Duration // an event or report older than this is marked
	retry     time.Duration // first pause between connections
	retryMost time.Duration
	refused   time.Duration // first pause after a refusal
	stable    time.Duration // a connection that lived so long was a good one
	drain     time.Duration // at shutdown, for what still waits
	goodbye   time.Duration // at shutdown, for offline, and for the disconnect
}

var defaultTiming = timing{
	connect:   15 * time.Second,
	keepAlive: 30 * time.Second,
	ping:      10 * time.Second,
	write:     3 * time.Second,
	ack:       20 * time.Second,
	late:      30 * time.Second,
	retry:     time.Second,
	retryMost: time.Minute,
	refused:   10 * time.Second,
	stable:    10 * time.Second,
	drain:     400 * time.Millisecond,
	goodbye:   200 * time.Millisecond,
}

// What is under way to the broker is bounded, so that a full socket never blocks the loop.
const (
	window      = 20       // messages; mosquitto takes no more by default
	windowBytes = 64 << 10 // but always one
	writeBuffer = 256 << 10
)

// keep connects again and again until ctx ends.
func (a *Agent) keep(ctx context.Context) {
	defer close(a.commands)
	var g gate
	failures := 0
	for ctx.Err() == nil {
		s, err := a.connect(ctx)
		if err == nil {
			began := time.Now()
			err = a.serve(ctx, s, &g)
			if time.Since(began) >= a.timing.stable {
				failures = 0
			}
		}
		if ctx.Err() != nil {
			return
		}
		pause := a.pause(failures, err)
		failures++
		a.down(err, pause)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// pause doubles with each failure, up to a limit, and is then spread over its upper half, so that a fleet does not
// come back at once.
func (a *Agent) pause(failures int, err error) time.Duration {
	first, most := a.timing.retry, a.timing.retryMost
	var refused *refusedError
	if errors.As(err, &refused) {
		first, most = a.timing.refused, 5*a.timing.retryMost
	}
	d := min(most, first<<min(failures, 16))
	return d/2 + rand.N(d/2+1)
}

// down notes that there is no connection. The log gets one line per reason, not per try.
func (a *Agent) down(err error, pause time.Duration) {
	why := err.Error()
	a.mu.Lock()
	news := a.status.Connected || a.status.Error != why
	if a.status.Connected {
		a.status.Since = time.Now()
	}
	a.status.Connected, a.status.Error = false, why
	a.mu.Unlock()
	if news {
		a.log.Warn("no connection to the broker; trying again", "broker", a.address, "err", why, "in", pause.Round(time.Millisecond))
	} else {
		a.log.Debug("still no connection to the broker", "broker", a.address, "in", pause.Round(time.Millisecond))
	}
}

// flight is a message that was given to paho and is not yet acknowledged.
type flight struct {
	message
	token mqtt.Token
	since time.Time
}

var errNoProgress = errors.New("the broker acknowledges nothing any more")

// serve moves messages until the connection or ctx ends. Brokers acknowledge in order (MQTT 3.1.1, section 4.6), so
// only the oldest flight is watched.
func (a *Agent) serve(ctx context.Context, s *session, g *gate) (err error) {
	var flights []flight
	goodbye := time.Duration(0)
	defer func() {
		s.close(goodbye)
		a.leave(flights)
	}()
	// Whatever the loop waits for when ctx ends, it does not wait long.
	defer context.AfterFunc(ctx, func() { time.AfterFunc(a.timing.drain+a.timing.goodbye, s.cut) })()
	if a.config.Will {
		refused, err := s.subscribe(ctx, a.timing.ack, a.root+"down/cmd/+", a.root+statusTopic)
		if err != nil {
			return err
		}
		for _, filter := range refused {
			a.log.Warn("the broker's ACL refuses a subscription", "topic", filter)
		}
		// Commands that waited in the session come first; and the will of an older connection is heard before
		// online is said, not after it.
		for len(s.in) > 0 {
			m := <-s.in
			a.take(g, m.Topic(), m.Payload(), m.Retained())
		}
	}
	a.greet()

	ctxDone := ctx.Done()
	var drained <-chan time.Time // runs while shutting down
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if flights, err = a.send(s, flights); err != nil {
			return err
		}
		if drained != nil && len(flights) == 0 {
			goodbye = a.timing.goodbye
			return a.sayOffline(s)
		}
		var oldest <-chan struct{}
		if len(flights) > 0 {
			oldest = flights[0].token.Done()
			timer.Reset(time.Until(flights[0].since.Add(a.timing.ack)))
		} else {
			timer.Stop()
		}
		select {
		case <-oldest:
			if err := flights[0].token.Error(); err != nil {
				return fmt.Errorf("publishing: %w", err)
			}
			a.acknowledged(flights[0].message)
			flights = flights[1:]
		case <-timer.C:
			return errNoProgress
		case <-a.wake:
		case m := <-s.in:
			if drained == nil {
				a.take(g, m.Topic(), m.Payload(), m.Retained())
			}
		case <-s.lost:
			return s.why
		case <-ctxDone:
			ctxDone = nil
			limit := time.NewTimer(a.timing.drain)
			defer limit.Stop()
			drained = limit.C
		case <-drained:
			goodbye = a.timing.goodbye
			return a.sayOffline(s)
		}
	}
}

// greet says everything anew: who we are, that we are here, and how everything stands.
func (a *Agent) greet() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.spool.release()
	waiting := a.queue // replies of before
	a.queue = nil
	for _, r := range a.retained {
		if r.topic == birthTopic {
			a.enqueue(r.message())
		}
	}
	if a.config.Will {
		a.enqueue(onlineMessage)
	}
	for _, r := range a.retained {
		if r.topic != birthTopic {
			a.enqueue(r.message())
		}
	}
	for _, m := range waiting {
		if m.isReply {
			a.enqueue(m)
		}
	}
	a.online = true
	a.status = Status{Connected: true, Since: time.Now()}
	a.log.Info("connected to the broker", "broker", a.address, "tls", a.tls)
}

var onlineMessage = message{topic: statusTopic, payload: []byte("online"), qos: 1, retain: true}

func (a *Agent) sayOnline() {
	a.mu.Lock()
	defer a.mu.Unlock()
	said := slices.ContainsFunc(a.queue, func(m message) bool { return m.topic == statusTopic })
	if a.online && !said {
		a.enqueue(onlineMessage)
	}
}

// send gives paho what waits, as far as the window allows.
func (a *Agent) send(s *session, flights []flight) ([]flight, error) {
	size := 0
	for _, f := range flights {
		size += len(f.payload)
	}
	for len(flights) < window && size < windowBytes {
		m, ok := a.next()
		if !ok {
			break
		}
		size += len(m.payload)
		token, err := s.publish(a.root+m.topic, m.qos, m.retain, m.payload)
		flights = append(flights, flight{message: m, token: token, since: time.Now()})
		if err != nil {
			return flights, err
		}
	}
	return flights, nil
}

// next takes what is to be sent next: what is live first, then what waited.
func (a *Agent) next() (message, bool) {
	a.mu.Lock()
	if len(a.queue) > 0 {
		m := a.queue[0]
		a.queue = a.queue[1:]
		if m.isLoose() {
			a.loose++
		}
		a.mu.Unlock()
		return m, true
	}
	a.mu.Unlock()
	for {
		e := a.spool.next()
		if e == nil {
			return message{}, false
		}
		topic, payload, err := a.spool.load(e)
		if err == nil && (e.replayed || time.Since(e.added) > a.timing.late) {
			payload, err = late(payload)
		}
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) { // else another process has sent it
				a.log.Warn("spooled message cannot be read; dropped", "file", e.name, "err", err)
			}
			a.acknowledged(message{entry: e})
			continue
		}
		return message{topic: topic, payload: payload, qos: 1, entry: e}, true
	}
}

// isLoose tells what nothing but the queue and the flights know of.
func (m message) isLoose() bool { return m.value == nil && m.entry == nil }

// acknowledged notes that the broker has m.
func (a *Agent) acknowledged(m message) {
	if m.entry != nil {
		a.spool.done(m.entry)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if m.value != nil {
		m.value.acked = max(m.value.acked, m.version)
	}
	if m.isLoose() {
		a.loose--
	}
	a.progress()
}

// leave notes that the connection is gone, and takes back the replies that were under way; all else is said anew.
func (a *Agent) leave(flights []flight) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.online = false
	a.loose = 0
	var replies []message
	for _, f := range flights {
		if f.isReply {
			replies = append(replies, f.message)
		}
	}
	for _, m := range a.queue {
		if m.isReply {
			replies = append(replies, m)
		}
	}
	a.queue = replies
}

// sayOffline ends an ordered shutdown: nobody shall wait for the last will.
func (a *Agent) sayOffline(s *session) error {
	if !a.config.Will {
		return nil
	}
	token, err := s.publish(a.root+statusTopic, 1, true, []byte("offline"))
	if err == nil {
		err = s.wait(context.Background(), token, a.timing.goodbye)
	}
	if err == nil {
		err = token.Error()
	}
	if err != nil {
		a.log.Warn("the broker did not acknowledge offline; our last will says it", "err", err)
		// Cut instead of disconnecting, or there would be no last will.
		s.cut()
	}
	return err
}
