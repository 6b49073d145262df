package call

import "time"

// InputKind says what happened to a call.
type InputKind string

// Inputs of the machine, and the fields of Input that each uses besides Time.
const (
	// What a person or the house wants.
	OnDial       InputKind = "dial"
	OnAnswer     InputKind = "answer" // Headers
	OnReject     InputKind = "reject"
	OnHangup     InputKind = "hang up"
	OnSendDigits InputKind = "send digits" // Digits
	OnHold       InputKind = "hold"
	OnUnhold     InputKind = "unhold"
	OnToggleHold InputKind = "toggle hold"
	OnTransfer   InputKind = "transfer" // To
	OnMute       InputKind = "mute"     // On
	OnToggleMute InputKind = "toggle mute"
	OnDeaf       InputKind = "deaf" // On

	// What the line says. Names, numbers and ids are taken from Remote where they are given.
	OnInvite        InputKind = "invite" // SDP; Busy when another call is up, or nobody wants any
	OnRinging       InputKind = "ringing"
	OnEarlyMedia    InputKind = "early media" // SDP
	OnAnswered      InputKind = "answered"    // SDP unless early media brought it
	OnBye           InputKind = "bye"         // Cause
	OnDisplay       InputKind = "display"
	OnDigit         InputKind = "digit" // Digits; from the line or from media
	OnLineLost      InputKind = "line lost"
	OnDropped       InputKind = "dropped"        // the platform has forgotten the call: there is nobody to say bye to
	OnReattached    InputKind = "reattached"     // the line is back, and the platform still has the call
	OnNotReattached InputKind = "not reattached" // the line is back, without the call
	OnAttach        InputKind = "attach"         // SDP: the platform gives the call back

	// What came of our actions. Try is that of the action.
	OnOffered      InputKind = "offered"       // SDP: our offer
	OnAnswerReady  InputKind = "answer ready"  // SDP: our answer
	OnMediaError   InputKind = "media error"   // Err: no media session, or no offer
	OnSDPError     InputKind = "SDP error"     // Err: the far side's SDP is of no use
	OnTaken        InputKind = "taken"         // the platform took our invite, answer or attach
	OnRefused      InputKind = "refused"       // Cause, Err: it did not; Unreachable when it did not say so, Unsent when it was never asked
	OnModified     InputKind = "modified"      // Modify, and HoldState or SDP
	OnModifyFailed InputKind = "modify failed" // Modify, Err; Unreachable when it was not refused
	OnHealthy      InputKind = "line healthy"
	OnUnhealthy    InputKind = "line not healthy"
	OnByeDone      InputKind = "bye done" // answered, or given up
	OnMediaClosed  InputKind = "media closed"
	OnSettled      InputKind = "settled" // after Settle

	// What media says, and what is measured of it.
	OnConnected    InputKind = "media connected"
	OnDisconnected InputKind = "media disconnected" // may come back by itself
	OnMediaLost    InputKind = "media lost"         // disconnected for longer than that takes
	OnMediaFailed  InputKind = "media failed"       // Err
	OnSilent       InputKind = "media silent"       // connected, but nothing goes in, or out, that should
	OnFlowing      InputKind = "media flowing"      // what was measured last is well
	OnNetwork      InputKind = "network changed"    // On: a way that was there is gone

	// What the clock says.
	OnTimeout InputKind = "timeout" // Timer
)

// Timer is the one timer that a call has running; arming one ends the one before.
type Timer string

// Timers.
const (
	NoTimer      Timer = ""
	SetupTimer   Timer = "setup"   // outbound: from dial to answer
	RingTimer    Timer = "ring"    // inbound: from invite to our answer
	AnswerTimer  Timer = "answer"  // inbound: from our answer to the platform's yes
	RecoverTimer Timer = "recover" // from the platform's attach to its yes to our answer
	MendTimer    Timer = "mend"    // from the wish for new media to the platform's answer
	ProveTimer   Timer = "prove"   // from there until sound must have come
	LostTimer    Timer = "lost"    // neither line nor media: how long a call waits for the line
	EndTimer     Timer = "end"     // from hangup to destroy
)

// mend is where the mending of a talking call's media is at.
type mend uint8

const (
	mendNone      mend = iota
	mendAsking         // is the line healthy?
	mendAskAgain       // the same, after it was not
	mendOffering       // our new offer is being made
	mendSending        // it waits for the platform's answer
	mendProving        // does sound flow?
	mendWaiting        // for the line; the lost timer runs
	mendExhausted      // of silence, by all means: it may be meant
)

// Remote is what the line tells of the far side and of the platform's ids. Empty fields tell nothing.
type Remote struct {
	Name, Number                                      string
	TelnyxCallControlID, TelnyxSessionID, TelnyxLegID string
	ClientState                                       string
	Headers                                           []Header
}

// Input is one thing that happened to a call.
type Input struct {
	Kind        InputKind
	Time        time.Time
	SDP         string
	Digits      string
	To          string
	Headers     []Header
	On          bool
	Cause       Cause
	Err         error
	Timer       Timer
	Busy        bool
	Modify      string
	HoldState   string
	Unreachable bool
	Unsent      bool
	Try         int
	Remote      Remote
}

// ActionKind says what is to be done about it.
type ActionKind string

// Actions of the machine. Results come back as inputs, named here.
const (
	Refuse      ActionKind = "refuse"       // nothing: the input does not fit the state
	MakeOffer   ActionKind = "make offer"   // open media: OnOffered or OnMediaError
	MakeAnswer  ActionKind = "make answer"  // open media, answer the invite's SDP: OnAnswerReady or OnSDPError
	MakeAttach  ActionKind = "make attach"  // open fresh media, answer SDP: OnAnswerReady, OnMediaError or OnSDPError
	MakeRelay   ActionKind = "make relay"   // open fresh media, relay only: OnOffered or OnMediaError
	MakeRestart ActionKind = "make restart" // offer new ways for the media that is: OnOffered or OnMediaError
	UseFresh    ActionKind = "use fresh"    // fresh media becomes the call's; what was goes once that is connected
	DropFresh   ActionKind = "drop fresh"   // close fresh media
	ApplyAnswer ActionKind = "apply answer" // SDP: OnSDPError when it fails
	SendInvite  ActionKind = "send invite"  // SDP: OnTaken or OnRefused
	SendAnswer  ActionKind = "send answer"  // SDP: OnTaken or OnRefused
	SendAttach  ActionKind = "send attach"  // SDP: OnTaken or OnRefused
	SendModify  ActionKind = "send modify"  // Modify, With: OnModified or OnModifyFailed
	SendBye     ActionKind = "send bye"     // OnByeDone
	SendDigits  ActionKind = "send digits"  // Digits
	TellDigit   ActionKind = "tell digit"   // Digits: the far side pressed them
	Tell        ActionKind = "tell"         // Code: a warning or error
	AskLine     ActionKind = "ask line"     // OnHealthy or OnUnhealthy
	RenewLine   ActionKind = "renew line"   // OnLineLost
	HoldMedia   ActionKind = "hold media"   // On
	MuteMedia   ActionKind = "mute media"   // On
	DeafMedia   ActionKind = "deaf media"   // On
	Measure     ActionKind = "measure"      // begin to sample
	CloseMedia  ActionKind = "close media"  // sample once more, then close all there is: OnMediaClosed
	Arm         ActionKind = "arm"          // Timer: OnTimeout
	Settle      ActionKind = "settle"       // OnSettled, at once
	MakeReport  ActionKind = "report"       // the call is over: report and forget it
)

// Action is one thing to be done.
type Action struct {
	Kind   ActionKind
	SDP    string
	Digits string
	Timer  Timer
	Modify string
	With   string
	Code   int
	On     bool
	Try    int
}
