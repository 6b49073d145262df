package call

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"sidetone/rtc/quality"
)

// Config of a manager. Line and NewMedia are required.
type Config struct {
	Line Line
	// NewMedia makes the media session of one call. ctx ends when the call does. notify takes what the media has to
	// say, from any goroutine, and never blocks.
	NewMedia func(ctx context.Context, c Info, notify func(MediaEvent)) (Media, error)
	// AutoAnswer answers inbound calls after AnswerDelay. With AllowFrom it does so only for callers whose number or name
	// is listed, exactly or by a beginning ("+1555*"); the others ring.
	AutoAnswer  bool
	AnswerDelay time.Duration
	AllowFrom   []string
	// SecondCall says what becomes of an inbound call while another is up.
	SecondCall SecondCall
	// DoNotDisturb is asked at each inbound call; true sends it away as busy. Nil: never.
	DoNotDisturb func() bool
	// DTMF says how digits are sent; both ways are heard.
	DTMF DTMFMode
	// RelayFallback lets media that cannot be mended move to TURN (ice.policy auto).
	RelayFallback bool
	// StartMuted begins all calls with the microphone muted.
	StartMuted bool
	// RingTimeout ends an inbound call that nobody answers; 0 is 45 s.
	RingTimeout time.Duration
	// SetupTimeout ends an outbound call that nobody answers; 0 is 60 s.
	SetupTimeout time.Duration
	// Now stamps what happens; nil is time.Now.
	Now func() time.Time
	// NewID names outbound calls; nil is a random UUID.
	NewID func() string
	// Collector configures the quality collector of each call.
	Collector quality.CollectorConfig
	// CallerNumber and SDKVersion go into the summary of reports.
	CallerNumber, SDKVersion string
	// ClientSummary says how the device is set up, without anything secret; it goes into the summary as it is. May be nil.
	ClientSummary any
	// FlushInterval is how often a part of a long call's report is given out (Parted); 0: only when so much has come that it
	// must be, and when the line is lost.
	FlushInterval time.Duration
	Logger        *slog.Logger
}

func (c *Config) fill() {
	if c.RingTimeout == 0 {
		c.RingTimeout = 45 * time.Second
	}
	if c.SetupTimeout == 0 {
		c.SetupTimeout = 60 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.NewID == nil {
		c.NewID = uuid.NewString
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// SecondCall is a policy for the inbound call that comes while another is up.
type SecondCall string

// Policies. Answering a call by hand always puts the one that is talked on on hold first.
const (
	SecondBusy SecondCall = "busy" // it hears that we are busy; so does an empty policy
	SecondWait SecondCall = "wait" // it rings
	SecondHold SecondCall = "hold" // the other is put on hold and this one answered at once
)

// DTMFMode is how digits go out.
type DTMFMode string

// Modes. RFC 4733 falls back to info where the far side takes no telephone events.
const (
	DTMFInfo DTMFMode = "info" // by signalling, as Telnyx's SDKs; so does an empty mode
	DTMFRTP  DTMFMode = "rfc4733"
)

// MediaKind says what happened to a media session.
type MediaKind string

// Media events. Others may be passed; they stand in the report's timeline, and nothing more.
const (
	MediaConnected    MediaKind = "connected"
	MediaDisconnected MediaKind = "disconnected" // may come back by itself
	MediaFailed       MediaKind = "failed"
	MediaDigit        MediaKind = "digit" // RFC 4733
	// Ours, trickled: Candidate, SDPMid, SDPMLineIndex.
	MediaCandidate       MediaKind = "candidate"
	MediaEndOfCandidates MediaKind = "end of candidates"
	MediaWarning         MediaKind = "warning" // Code
)

// MediaEvent is what a media session tells.
type MediaEvent struct {
	Kind  MediaKind
	Time  time.Time // for the report's timeline; zero is now
	Digit string
	Err   error
	Code  int // of quality.Lookup

	Candidate, SDPMid string
	SDPMLineIndex     uint16
}

// EventKind says what an Event is about.
type EventKind string

// Events of the manager. A call that came while another was up is told by its report alone, which says USER_BUSY: it was
// nobody's call, and must not move lights and states that show the other.
const (
	StateChanged EventKind = "state"      // Call.State changed
	Updated      EventKind = "update"     // something else in Call changed: the far side rings, a name came, media connected
	Warned       EventKind = "warning"    // Warning is set
	Errored      EventKind = "call_error" // Warning is set, with the code of an error; the call may go on
	DTMF         EventKind = "dtmf"       // Digit is set: the far side pressed a key
	Measured     EventKind = "stats"      // Stats is set; each second while media is there
	Parted       EventKind = "part"       // Report is what came since the last part; for the platform
	Reported     EventKind = "report"     // Report and Last are set; the last event of each call
)

// Event is what happened to a call.
type Event struct {
	Kind    EventKind        `json:"event"`
	Call    Info             `json:"call"`
	Warning *quality.Warning `json:"warning,omitempty"`
	Digit   string           `json:"digit,omitempty"`
	Stats   *quality.Frame   `json:"stats,omitempty"`
	Report  *quality.Report  `json:"report,omitempty"`
	// Last is the end of the report for the platform: what came since the last part, and the same as Report where none was
	// given out.
	Last *quality.Report `json:"-"`
}

// Errors of the manager's commands.
var (
	ErrBusy       = errors.New("a call is up already: hang it up first")
	ErrNoCall     = errors.New("there is no call")
	ErrNotRunning = errors.New("the call manager is not running")
)

// Timings that are nobody's business but ours.
const (
	requestTimeout = 10 * time.Second // of invite, answer and DTMF
	answerTimeout  = 15 * time.Second // from our answer to the platform's yes, media's gathering included
	byeTimeout     = 5 * time.Second  // as Telnyx's browser SDK waits
	endTimeout     = 6 * time.Second  // then a call is over, whatever line and media are still at
	samplePeriod   = time.Second
	healthTimeout  = 6 * time.Second   // the line's probe takes 5 s
	recoverTimeout = 15 * time.Second  // from attach to the platform's yes
	mendTimeout    = 15 * time.Second  // the SDKs' guard of an ICE restart
	proveTimeout   = 5 * time.Second   // within which sound must flow after it
	lostTimeout    = 120 * time.Second // as long as the platform keeps a call without a line
	retireAfter    = 5 * time.Second   // then media that was replaced is closed at any rate

	// At the end of Run everything is shorter; all of it stays below a second.
	lastBye    = 300 * time.Millisecond
	lastEnd    = 600 * time.Millisecond
	lastEvents = 750 * time.Millisecond
	lastWork   = 900 * time.Millisecond
	// lastEvent is how long a reader that is there may take for one event then: it writes reports to a disk.
	lastEvent = 2 * time.Second
)

// Bounds against a far side without measure.
const (
	maxCalls      = 16   // at a time; all but one of them are being told that we are busy
	maxCandidates = 64   // that wait for media
	maxEvents     = 4096 // undelivered; warnings and digits beyond are dropped
	maxOver       = 16   // ended calls that are remembered
	maxUp         = 4    // calls that may ring, talk or be held at a time
)

// Manager owns all calls. One goroutine, Run, has their state; what others want of it goes through a queue that takes
// without waiting. Line and media are only ever called from goroutines of their own, one each per call, so that nothing
// of theirs can hold up the others.
type Manager struct {
	cfg    Config
	log    *slog.Logger
	inbox  *queue[func()] // run by the owner
	events chan Event
	done   chan struct{}
	logged atomic.Bool // there are calls whose logs are kept

	// owned by Run
	ctx     context.Context // of the calls; outlives Run's until the byes are said
	byeCtx  context.Context // of byes
	workers sync.WaitGroup
	calls   []*live   // oldest first
	over    []Info    // the last that ended, newest last
	out     []Event   // to be delivered
	readAt  time.Time // when the last one was
	leaving bool
}

// NewManager makes a manager; Run brings it to life.
func NewManager(cfg Config) *Manager {
	cfg.fill()
	return &Manager{
		cfg: cfg, log: cfg.Logger, inbox: newQueue[func()](), events: make(chan Event), done: make(chan struct{}),
	}
}

// Run owns the calls until ctx ends; then it says bye for each, reports each, closes their media and returns nil,
// within a second whatever line and media do, unless who reads Events needs longer. It may be called once.
func (m *Manager) Run(ctx context.Context) error {
	defer close(m.done)
	defer close(m.events)
	defer m.inbox.close()
	var cancel, cancelBye context.CancelFunc
	m.ctx, cancel = context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	m.byeCtx, cancelBye = context.WithCancel(m.ctx)
	defer cancelBye()

	timer := time.NewTimer(0)
	defer timer.Stop()
	leave := ctx.Done()
	var left time.Time
	for !m.leaving || len(m.calls) > 0 {
		timer.Reset(time.Until(m.nextDue()))
		var events chan Event
		var event Event
		if len(m.out) > 0 {
			events, event = m.events, m.out[0]
		}
		select {
		case <-leave:
			leave, left = nil, time.Now()
			defer time.AfterFunc(lastBye, cancelBye).Stop()
			m.leave()
		case <-m.inbox.ready:
			for _, f := range m.inbox.take() {
				f()
			}
		case <-timer.C:
			m.due(time.Now())
		case events <- event:
			m.delivered()
		}
	}
	m.deliver(left)
	cancel()
	m.wait(max(time.Until(left.Add(lastWork)), lastWork-lastEnd))
	return nil
}

// leave hangs up everything, in a hurry.
func (m *Manager) leave() {
	m.leaving = true
	for _, c := range m.list() {
		m.step(c, Input{Kind: OnHangup})
		c.arm(EndTimer, lastEnd)
	}
}

// deliver hands out the last events, the reports among them. A reader that has taken one since the end began is there,
// however slow its disk is.
func (m *Manager) deliver(left time.Time) {
	until := left.Add(lastEvents)
	if m.readAt.After(left) {
		until = m.readAt.Add(lastEvent)
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	for len(m.out) > 0 {
		select {
		case m.events <- m.out[0]:
			m.delivered()
			timer.Reset(lastEvent)
		case <-timer.C:
			m.log.Warn("the last events of calls were not read in time", "events", len(m.out))
			return
		}
	}
}

// wait gives the workers time to end. One that is stuck in line or media is left behind: no exit waits for it.
func (m *Manager) wait(patience time.Duration) {
	ended := make(chan struct{})
	go func() {
		m.workers.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(patience):
		m.log.Error("a call's line or media is stuck and was left behind")
	}
}

func (m *Manager) delivered() {
	m.out[0] = Event{}
	m.out = m.out[1:]
	m.readAt = time.Now()
}

// Events gives what happens to calls, in order; closed after the last report. A slow reader holds up nobody: events
// wait for it, warnings and digits only up to maxEvents.
func (m *Manager) Events() <-chan Event { return m.events }

func (m *Manager) emit(c *live, e Event) {
	if c.busy && e.Kind != Reported {
		return
	}
	if len(m.out) >= maxEvents && (e.Kind == Warned || e.Kind == DTMF || e.Kind == Measured) {
		return
	}
	e.Call = c.info
	m.out = append(m.out, e)
}

// nextDue is when the owner has something to do by itself; far away when nothing.
func (m *Manager) nextDue() time.Time {
	next := time.Now().Add(time.Hour)
	for _, c := range m.calls {
		for _, t := range []time.Time{c.deadline, c.nextSample, c.answerAt, c.retireAt, c.badSince(), c.nextPart} {
			if !t.IsZero() && t.Before(next) {
				next = t
			}
		}
	}
	return next
}

func (m *Manager) due(now time.Time) {
	for _, c := range m.list() {
		if t := c.nextSample; !t.IsZero() && !t.After(now) {
			c.nextSample = t.Add(samplePeriod)
			if c.nextSample.Before(now) { // the device slept
				c.nextSample = now.Add(samplePeriod)
			}
			m.sample(c)
		}
		if t := c.retireAt; !t.IsZero() && !t.After(now) {
			m.retire(c)
		}
		if t := c.nextPart; !t.IsZero() && !t.After(now) {
			m.flush(c, quality.FlushReason{Type: quality.FlushBufferLimit})
		}
		if t := c.badSince(); !t.IsZero() && !t.After(now) {
			c.media.badSince = now.Add(badAgain)
			m.step(c, Input{Kind: OnMediaLost})
		}
		if t := c.answerAt; !t.IsZero() && !t.After(now) {
			c.answerAt = time.Time{}
			m.step(c, Input{Kind: OnAnswer})
		}
		if t := c.deadline; !t.IsZero() && !t.After(now) {
			c.deadline = time.Time{}
			if c.timer == EndTimer {
				m.log.Warn("line or media did not end in time; the call ends without them", "call_id", c.info.ID,
					"bye_open", c.info.byeOpen, "media_open", c.info.mediaOpen)
			}
			m.step(c, Input{Kind: OnTimeout, Timer: c.timer})
		}
	}
}

// list is a copy of calls, because stepping a call may take it out.
func (m *Manager) list() []*live { return append([]*live(nil), m.calls...) }

// badSince is when media that is away must be told so; zero when it is there.
func (c *live) badSince() time.Time {
	if c.media == nil || c.info.State >= Hangup || !c.info.answered() {
		return time.Time{}
	}
	return c.media.badSince
}

// up tells that a call is somebody's: it rings, talks or is held.
func (c *live) up() bool { return c.info.State < Hangup && !c.busy }

// find gives the call of an id. An empty id is the one that is up; of several the one in the first of the preferred
// states, and among these the newest.
func (m *Manager) find(id string, preferred ...State) *live {
	if id != "" {
		for _, c := range m.calls {
			if c.info.ID == id {
				return c
			}
		}
		return nil
	}
	var best *live
	rank := func(s State) int {
		if i := slices.Index(preferred, s); i >= 0 {
			return i
		}
		return len(preferred)
	}
	for _, c := range m.calls {
		if c.up() && (best == nil || rank(c.info.State) <= rank(best.info.State)) {
			best = c
		}
	}
	return best
}

// talkingFirst are the states of the call that a person means who does not say which.
var talkingFirst = []State{Active, Recovering, Early, Answering, Trying, Requesting, Ringing}

// Alive returns nil once Run has taken note: it does not hang.
func (m *Manager) Alive(ctx context.Context) error { return m.ask(ctx, func() error { return nil }) }

// ask runs f in the owner and gives its error.
func (m *Manager) ask(ctx context.Context, f func() error) error {
	reply := make(chan error, 1)
	m.inbox.put(func() { reply <- f() })
	return m.await(ctx, reply)
}

func (m *Manager) await(ctx context.Context, reply <-chan error) error {
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-m.done:
		select {
		case err := <-reply: // it was answered before the end
			return err
		default:
			return ErrNotRunning
		}
	}
}

// DialRequest says whom to call, and how.
type DialRequest struct {
	Destination string // see ValidDestination
	Relay       bool   // media through TURN only, whatever the device's policy
	// CallerName and CallerNumber are shown to the other side; empty means the device's.
	CallerName, CallerNumber string
	Headers                  []Header // names begin with X-
	ClientState              string   // base64
	Muted                    bool     // begin with the microphone muted
	PreferredCodecs          []string // opus, PCMU, PCMA: best first; empty: media's own order
	// Group lets calls of the same group be up together: the legs of one hunt.
	Group string
}

// Dial starts a call and returns its id; ErrBusy while a call is up that is neither held nor of the same group. A call that
// is only waiting for its end (hangup) is not up any more. Parameters that cannot be give an *Invalid.
func (m *Manager) Dial(ctx context.Context, r DialRequest) (callID string, err error) {
	r.Destination = strings.TrimSpace(r.Destination)
	if err := r.valid(); err != nil {
		return "", err
	}
	err = m.ask(ctx, func() error {
		if m.leaving {
			return ErrNotRunning
		}
		if err := m.roomFor(r.Group); err != nil {
			return err
		}
		callID = m.cfg.NewID()
		c := m.add(Info{
			ID: callID, Direction: Outbound, Destination: r.Destination, Relay: r.Relay, Group: r.Group,
			CallerName: r.CallerName, CallerNumber: r.CallerNumber,
			Headers: slices.Clone(r.Headers), ClientState: r.ClientState,
			PreferredCodecs: slices.Clone(r.PreferredCodecs), Muted: r.Muted || m.cfg.StartMuted,
		})
		m.emit(c, Event{Kind: StateChanged})
		m.step(c, Input{Kind: OnDial})
		return nil
	})
	if err != nil {
		return "", err // and callID may still be the owner's
	}
	return callID, nil
}

// Calls lists the calls that are not yet destroyed, oldest first.
func (m *Manager) Calls(ctx context.Context) []Info {
	found := make(chan []Info, 1)
	err := m.ask(ctx, func() error {
		var infos []Info
		for _, c := range m.calls {
			infos = append(infos, c.info)
		}
		found <- infos
		return nil
	})
	if err != nil {
		return nil
	}
	return <-found
}
