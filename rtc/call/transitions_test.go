package call

import (
	"errors"
	"strings"
	"time"
)

// inputs are all there are, each with everything that it may carry.
var inputs = func() map[string]Input {
	all := map[string]Input{}
	for _, k := range []InputKind{
		OnDial, OnAnswer, OnReject, OnHangup, OnSendDigits, OnHold, OnUnhold, OnToggleHold, OnTransfer, OnMute, OnToggleMute,
		OnDeaf, OnInvite, OnRinging, OnEarlyMedia, OnAnswered, OnBye, OnDisplay, OnDigit, OnLineLost, OnDropped,
		OnReattached, OnNotReattached, OnAttach, OnOffered, OnAnswerReady, OnMediaError, OnSDPError, OnTaken, OnRefused,
		OnHealthy, OnUnhealthy, OnByeDone, OnMediaClosed, OnSettled, OnConnected, OnDisconnected, OnMediaLost, OnMediaFailed,
		OnSilent, OnFlowing, OnNetwork,
	} {
		all[string(k)] = Input{Kind: k, SDP: "sdp", Digits: "5", To: "100", On: true, Err: errors.New("why")}
	}
	all["network grew"] = Input{Kind: OnNetwork}
	for _, timer := range []Timer{SetupTimer, RingTimer, AnswerTimer, RecoverTimer, MendTimer, ProveTimer, LostTimer, EndTimer} {
		all["timeout "+string(timer)] = Input{Kind: OnTimeout, Timer: timer}
	}
	for _, action := range []string{ModifyHold, ModifyUnhold, ModifyToggleHold} {
		all[action+" modified to held"] = Input{Kind: OnModified, Modify: action, HoldState: "held"}
		all[action+" modified to active"] = Input{Kind: OnModified, Modify: action, HoldState: "active"}
	}
	for _, action := range []string{ModifyHold, ModifyUnhold, ModifyToggleHold, ModifyUpdate, ModifyTransfer} {
		all[action+" failed"] = Input{Kind: OnModifyFailed, Modify: action, Err: errors.New("why")}
	}
	all["update modified"] = Input{Kind: OnModified, Modify: ModifyUpdate, SDP: "sdp"}
	all["update modified without SDP"] = Input{Kind: OnModified, Modify: ModifyUpdate}
	all["update unreachable"] = Input{Kind: OnModifyFailed, Modify: ModifyUpdate, Unreachable: true}
	all["transfer modified"] = Input{Kind: OnModified, Modify: ModifyTransfer, HoldState: "active"}
	all["attach without SDP"] = Input{Kind: OnAttach}
	all["offered, stale"] = Input{Kind: OnOffered, SDP: "sdp", Try: -1}
	all["taken, stale"] = Input{Kind: OnTaken, Try: -1}
	all["update modified, stale"] = Input{Kind: OnModified, Modify: ModifyUpdate, SDP: "sdp", Try: -1}
	all["invite busy"] = Input{Kind: OnInvite, SDP: "sdp", Busy: true}
	all["invite without SDP"] = Input{Kind: OnInvite}
	all["early media without SDP"] = Input{Kind: OnEarlyMedia}
	all["answered without SDP"] = Input{Kind: OnAnswered}
	for name, in := range all {
		in.Time = time.Unix(100, 0)
		all[name] = in
	}
	return all
}()

// Every input into every state. "input: state action, action"; what is not listed must be refused.
var transitions = []struct {
	name string
	from Info
	does map[string]string
}{
	{"outbound new", Info{Direction: Outbound}, map[string]string{
		"dial":    "requesting arm setup, make offer",
		"hang up": "hangup arm end, settle",
	}},
	{"inbound new", Info{Direction: Inbound}, map[string]string{
		"invite":             "ringing arm ring",
		"invite busy":        "hangup arm end, send bye",
		"invite without SDP": "hangup arm end, send bye",
		"hang up":            "hangup arm end, send bye",
		"reject":             "hangup arm end, send bye",
		"attach":             "recovering arm recover, make attach sdp",
	}},
	{"requesting, gathering", Info{Direction: Outbound, State: Requesting, mediaOpen: true}, map[string]string{
		"offered":       "requesting send invite sdp",
		"timeout setup": "hangup arm end, close media",
		"hang up":       "hangup arm end, close media",
		"line lost":     "hangup arm end, close media",
	}},
	{"requesting, invite sent", Info{Direction: Outbound, State: Requesting, mediaOpen: true, sent: true}, map[string]string{
		"taken":                "trying",
		"refused":              "hangup tell 40005, arm end, send bye, close media",
		"ringing":              "requesting",
		"early media":          "early apply answer sdp",
		"answered":             "active apply answer sdp, arm , measure",
		"answered without SDP": "hangup arm end, send bye, close media",
		"timeout setup":        "hangup arm end, send bye, close media",
	}},
	{"trying", Info{Direction: Outbound, State: Trying, mediaOpen: true, sent: true}, map[string]string{
		"ringing":              "trying",
		"refused":              "hangup tell 40005, arm end, send bye, close media",
		"early media":          "early apply answer sdp",
		"answered":             "active apply answer sdp, arm , measure",
		"answered without SDP": "hangup arm end, send bye, close media",
		"timeout setup":        "hangup arm end, send bye, close media",
	}},
	{"early", Info{Direction: Outbound, State: Early, mediaOpen: true, sent: true, sdpTaken: true}, map[string]string{
		"ringing":              "early",
		"refused":              "hangup tell 40005, arm end, send bye, close media",
		"answered":             "active arm , measure", // one SDP answer is enough
		"answered without SDP": "active arm , measure",
		"send digits":          "early send digits 5",
		"digit":                "early tell digit 5",
		"timeout setup":        "hangup arm end, send bye, close media",
	}},
	{"ringing", Info{Direction: Inbound, State: Ringing}, map[string]string{
		"answer":       "answering arm answer, make answer",
		"timeout ring": "hangup arm end, send bye",
		"reject":       "hangup arm end, send bye",
		"hang up":      "hangup arm end, send bye",
		"line lost":    "hangup arm end, send bye",
	}},
	{"answering, gathering", Info{Direction: Inbound, State: Answering, mediaOpen: true, sdpTaken: true}, map[string]string{
		"answer ready":   "answering send answer sdp",
		"answer":         "answering tell 33006",
		"reject":         "hangup arm end, send bye, close media",
		"timeout answer": "hangup arm end, send bye, close media",
	}},
	{"answering, answer sent", Info{Direction: Inbound, State: Answering, mediaOpen: true, sdpTaken: true, sent: true}, map[string]string{
		"taken":          "active arm , measure",
		"answer":         "answering tell 33006",
		"reject":         "hangup arm end, send bye, close media",
		"refused":        "hangup tell 40005, arm end, send bye, close media",
		"timeout answer": "hangup arm end, send bye, close media",
	}},
	{"answering, answer sent, a way was lost meanwhile", Info{Direction: Inbound, State: Answering, mediaOpen: true, sdpTaken: true, sent: true, moved: true}, map[string]string{
		"taken":          "active arm , measure, tell 33001, ask line",
		"answer":         "answering tell 33006",
		"reject":         "hangup arm end, send bye, close media",
		"refused":        "hangup tell 40005, arm end, send bye, close media",
		"timeout answer": "hangup arm end, send bye, close media",
	}},
	{"active, over a line renewed for it", talkingCall(Active, func(c *Info) { c.renewed = true }), map[string]string{
		"send digits":   "active send digits 5",
		"hold":          "active send modify hold",
		"toggle hold":   "active send modify toggleHold",
		"attach":        "recovering arm recover, make attach sdp",
		"media lost":    "active tell 33001, ask line",
		"media failed":  "active tell 33004, ask line",
		"media silent":  "active tell 33001, ask line",
		"media flowing": "active",
	}},
	{"active", talkingCall(Active), map[string]string{
		"send digits":  "active send digits 5",
		"hold":         "active send modify hold",
		"toggle hold":  "active send modify toggleHold",
		"attach":       "recovering arm recover, make attach sdp",
		"media lost":   "active tell 33001, ask line",
		"media failed": "active tell 33004, ask line",
		"media silent": "active tell 33001, ask line",
	}},
	{"active, inbound", talkingCall(Active, func(c *Info) { c.Direction = Inbound }), map[string]string{
		"answer":       "active tell 33006",
		"send digits":  "active send digits 5",
		"hold":         "active send modify hold",
		"toggle hold":  "active send modify toggleHold",
		"attach":       "recovering arm recover, make attach sdp",
		"media lost":   "active tell 33001, ask line",
		"media failed": "active tell 33004, ask line",
		"media silent": "active tell 33001, ask line",
	}},
	{"active, hold asked", talkingCall(Active, func(c *Info) { c.asked = ModifyHold }), map[string]string{
		"send digits":             "active send digits 5",
		"hold modified to held":   "held hold media true",
		"hold modified to active": "active hold media false",
		"hold failed":             "active tell 44001, hold media false",
		"attach":                  "recovering arm recover, make attach sdp",
		"media lost":              "active tell 33001, ask line",
		"media failed":            "active tell 33004, ask line",
		"media silent":            "active tell 33001, ask line",
	}},
	{"active, toggle asked", talkingCall(Active, func(c *Info) { c.asked = ModifyToggleHold }), map[string]string{
		"send digits":                   "active send digits 5",
		"toggleHold modified to held":   "held hold media true",
		"toggleHold modified to active": "active hold media false",
		"toggleHold failed":             "active tell 44001, hold media false",
		"attach":                        "recovering arm recover, make attach sdp",
		"media lost":                    "active tell 33001, ask line",
		"media failed":                  "active tell 33004, ask line",
		"media silent":                  "active tell 33001, ask line",
	}},
	{"held", talkingCall(Held), map[string]string{
		"unhold":       "held send modify unhold",
		"toggle hold":  "held send modify toggleHold",
		"attach":       "recovering arm recover, make attach sdp",
		"media lost":   "held tell 33001, ask line",
		"media failed": "held tell 33004, ask line",
	}},
	{"held, unhold asked", talkingCall(Held, func(c *Info) { c.asked = ModifyUnhold }), map[string]string{
		"unhold modified to active": "active hold media false",
		"unhold modified to held":   "held hold media true",
		"unhold failed":             "held tell 44001, hold media true",
		"attach":                    "recovering arm recover, make attach sdp",
		"media lost":                "held tell 33001, ask line",
		"media failed":              "held tell 33004, ask line",
	}},
	{"active, line lost", talkingCall(Active, func(c *Info) { c.detached = true }), map[string]string{
		"send digits":    "active send digits 5",
		"hold":           "active send modify hold",
		"toggle hold":    "active send modify toggleHold",
		"reattached":     "active",
		"not reattached": "hangup tell 48501, arm end, close media",
		"attach":         "recovering arm recover, make attach sdp",
		"media lost":     "active tell 33001, tell 36003, arm lost",
		"media failed":   "active tell 33004, tell 36003, arm lost",
		"media silent":   "active tell 33001, tell 36003, arm lost",
	}},
	{"mending, asking", mendingCall(mendAsking), map[string]string{
		"line lost":        "active arm lost",
		"line healthy":     "active tell 36004, arm mend, make restart",
		"line not healthy": "active tell 36003, arm lost",
		"media flowing":    "active arm ",
	}},
	{"mending, asking for the second time", mendingCall(mendAsking, func(c *Info) { c.tries = 1 }), map[string]string{
		"line lost":        "active arm lost",
		"line healthy":     "active arm mend, make restart",
		"line not healthy": "active tell 36003, arm lost",
		"media flowing":    "active arm ",
	}},
	{"mending, asking for the second time, TURN allowed", mendingCall(mendAsking, func(c *Info) { c.tries, c.mayRelay = 1, true }), map[string]string{
		"line lost":        "active arm lost",
		"line healthy":     "active arm mend, make relay",
		"line not healthy": "active tell 36003, arm lost",
		"media flowing":    "active arm ",
	}},
	{"mending, asking again", mendingCall(mendAskAgain), map[string]string{
		"line lost":        "active arm lost",
		"line healthy":     "active tell 36004, arm mend, make restart",
		"line not healthy": "active",
		"media flowing":    "active arm ",
		"timeout lost":     "hangup arm end, send bye, close media",
	}},
	{"mending, offering", mendingCall(mendOffering, func(c *Info) { c.tries = 1 }), map[string]string{
		"line lost":    "active arm lost",
		"offered":      "active send modify updateMedia sdp",
		"media error":  "active tell 47001, arm , ask line",
		"timeout mend": "active tell 47001, arm , ask line",
	}},
	{"mending, offering TURN", mendingCall(mendOffering, func(c *Info) { c.tries, c.fresh = 2, true }), map[string]string{
		"line lost":    "active drop fresh, arm lost",
		"offered":      "active send modify updateMedia sdp",
		"media error":  "active tell 47001, drop fresh, arm , ask line",
		"timeout mend": "active tell 47001, drop fresh, arm , ask line",
		"attach":       "recovering drop fresh, arm recover, make attach sdp",
	}},
	{"mending, sending", mendingCall(mendSending, func(c *Info) { c.tries = 1 }), map[string]string{
		"line lost":                   "active arm lost",
		"update modified":             "active apply answer sdp, arm prove",
		"update modified without SDP": "active tell 47001, renew line, arm lost",
		"updateMedia failed":          "active tell 47001, renew line, arm lost",
		"update unreachable":          "active tell 36003, arm lost",
		"timeout mend":                "active tell 47001, arm , ask line",
	}},
	{"mending, sending, over a line renewed for it", mendingCall(mendSending, func(c *Info) { c.tries, c.renewed = 1, true }), map[string]string{
		"line lost":                   "active arm lost",
		"update modified":             "active apply answer sdp, arm prove",
		"update modified without SDP": "active tell 47001, arm , ask line",
		"updateMedia failed":          "active tell 47001, arm , ask line",
		"update unreachable":          "active tell 36003, arm lost",
		"timeout mend":                "active tell 47001, arm , ask line",
	}},
	{"mending, sending TURN", mendingCall(mendSending, func(c *Info) { c.tries, c.fresh = 2, true }), map[string]string{
		"line lost":                   "active drop fresh, arm lost",
		"update modified":             "active use fresh, apply answer sdp, arm prove",
		"update modified without SDP": "active tell 47001, drop fresh, renew line, arm lost",
		"updateMedia failed":          "active tell 47001, drop fresh, renew line, arm lost",
		"update unreachable":          "active tell 36003, drop fresh, arm lost",
		"timeout mend":                "active tell 47001, drop fresh, arm , ask line",
		"attach":                      "recovering drop fresh, arm recover, make attach sdp",
	}},
	{"mending, proving", mendingCall(mendProving, func(c *Info) { c.tries = 1 }), map[string]string{
		"media flowing": "active arm ",
		"SDP error":     "active tell 47001, arm , ask line",
		"media failed":  "active tell 47001, arm , ask line",
		"timeout prove": "active tell 47001, arm , ask line",
	}},
	{"mending, proving, line lost", mendingCall(mendProving, func(c *Info) { c.tries, c.detached = 1, true }), map[string]string{
		"media flowing":  "active arm ",
		"SDP error":      "active tell 47001, arm lost",
		"media failed":   "active tell 47001, arm lost",
		"timeout prove":  "active tell 47001, arm lost",
		"reattached":     "active",
		"not reattached": "hangup tell 48501, arm end, close media",
	}},
	{"mending, proving for the last time", mendingCall(mendProving, func(c *Info) { c.tries = maxTries }), map[string]string{
		"media flowing": "active arm ",
		"SDP error":     "hangup tell 47001, arm end, send bye, close media",
		"media failed":  "hangup tell 47001, arm end, send bye, close media",
		"timeout prove": "hangup tell 47001, arm end, send bye, close media",
	}},
	{"mending silence, proving for the last time", mendingCall(mendProving, func(c *Info) { c.tries, c.silent = maxTries, true }), map[string]string{
		"media flowing": "active arm ",
		"SDP error":     "active tell 47001, arm ",
		"media failed":  "hangup tell 47001, arm end, send bye, close media",
		"timeout prove": "active tell 47001, arm ",
	}},
	{"silence not mended", mendingCall(mendExhausted, func(c *Info) { c.tries, c.silent = maxTries, true }), map[string]string{
		"media flowing": "active",
		"media lost":    "active tell 33001, ask line",
		"media failed":  "active tell 33004, ask line",
	}},
	{"mending, waiting for the line", mendingCall(mendWaiting, func(c *Info) { c.detached = true }), map[string]string{
		"media flowing":  "active arm ",
		"reattached":     "active",
		"not reattached": "hangup tell 48501, arm end, close media",
		"timeout lost":   "hangup arm end, send bye, close media",
		"media silent":   "active",
	}},
	{"mending, waiting, the line is back", mendingCall(mendWaiting), map[string]string{
		"media flowing": "active arm ",
		"timeout lost":  "hangup arm end, send bye, close media",
		"media lost":    "active ask line",
		"media failed":  "active ask line",
		"media silent":  "active ask line",
	}},
	{"held, mending, proving, connected", mendingCall(mendProving, func(c *Info) { c.State, c.Media = Held, "connected" }), map[string]string{
		"send digits":   "",
		"hold":          "",
		"unhold":        "held send modify unhold",
		"toggle hold":   "held send modify toggleHold",
		"media flowing": "held arm ",
		"SDP error":     "held tell 47001, arm , ask line",
		"media failed":  "held tell 47001, arm , ask line",
		"media lost":    "held",
		"timeout prove": "held",
	}},
	{"recovering, gathering", recoveringCall(), map[string]string{
		"answer ready": "recovering send attach sdp",
	}},
	{"recovering, attach sent", recoveringCall(func(c *Info) { c.sent = true }), map[string]string{
		"taken":   "active use fresh, arm , measure",
		"refused": "hangup tell 40005, arm end, send bye, close media",
	}},
	{"recovering, attach sent, a way was lost meanwhile", recoveringCall(func(c *Info) { c.sent, c.moved = true, true }), map[string]string{
		"taken":   "active use fresh, arm , measure, tell 33001, ask line",
		"refused": "hangup tell 40005, arm end, send bye, close media",
	}},
	{"recovering a held call, attach sent", recoveringCall(func(c *Info) { c.sent, c.holdAgain = true, true }), map[string]string{
		"taken":   "active use fresh, arm , measure, send modify hold",
		"refused": "hangup tell 40005, arm end, send bye, close media",
	}},
	{"recovering, line lost again", recoveringCall(func(c *Info) { c.sent, c.detached = true, true }), map[string]string{
		"taken":          "active use fresh, arm , measure",
		"refused":        "recovering drop fresh, arm lost",
		"reattached":     "recovering arm recover",
		"not reattached": "hangup tell 48501, arm end, close media",
	}},
	{"hangup, both open", Info{Direction: Outbound, State: Hangup, sent: true, mediaOpen: true, byeOpen: true}, map[string]string{
		"bye done":     "hangup",
		"media closed": "hangup",
		"timeout end":  "destroy arm , report",
	}},
	{"hangup, bye open", Info{Direction: Outbound, State: Hangup, sent: true, byeOpen: true}, map[string]string{
		"bye done":    "destroy arm , report",
		"timeout end": "destroy arm , report",
	}},
	{"hangup, media open", Info{Direction: Outbound, State: Hangup, sent: true, mediaOpen: true}, map[string]string{
		"media closed": "destroy arm , report",
		"timeout end":  "destroy arm , report",
	}},
	{"hangup, nothing open", Info{Direction: Outbound, State: Hangup}, map[string]string{
		"settled":     "destroy arm , report",
		"timeout end": "destroy arm , report",
	}},
	{"destroy", Info{State: Destroy}, nil},
	{"purge", Info{State: Purge}, nil},
}

func talkingCall(s State, change ...func(*Info)) Info {
	c := Info{ID: "c", Direction: Outbound, State: s, mediaOpen: true, sent: true, sdpTaken: true}
	for _, f := range change {
		f(&c)
	}
	return c
}

func mendingCall(stage mend, change ...func(*Info)) Info {
	return talkingCall(Active, append(change, func(c *Info) { c.mend = stage })...)
}

func recoveringCall(change ...func(*Info)) Info {
	return talkingCall(Recovering, append([]func(*Info){func(c *Info) { c.sent, c.fresh = false, true }}, change...)...)
}

// movedBy is what a talking call does when a way that was there is gone.
func movedBy(c Info) string {
	next := "ask line"
	if c.detached {
		next = "arm lost"
	}
	switch c.mend {
	case mendNone, mendExhausted:
		if c.detached {
			next = "tell 36003, " + next
		}
		return "tell 33001, " + next
	case mendAskAgain: // the answer counts
		return ""
	case mendWaiting:
		if c.detached {
			return ""
		}
		return next
	}
	if !c.detached {
		next = "arm , " + next
	}
	if c.fresh {
		return "drop fresh, " + next
	}
	return next
}

// What holds in every state before hangup, unless the table says otherwise.
func everywhere(c Info) map[string]string {
	if c.State >= Hangup {
		return nil
	}
	stay := c.State.String()
	end := "hangup arm end"
	if c.Direction == Inbound || c.sent || c.answered() {
		end += ", send bye"
	}
	silent := "hangup arm end"
	if c.mediaOpen {
		end += ", close media"
		silent += ", close media"
	} else {
		silent += ", settle"
		if !strings.Contains(end, "bye") {
			end += ", settle"
		}
	}
	all := map[string]string{
		"hang up": end, "line lost": end, "bye": silent, "dropped": silent, "display": stay,
		"mute": stay, "toggle mute": stay, "deaf": stay,
	}
	if c.mediaOpen {
		all["media failed"] = end
		// Whose SDP it was says the code.
		theirs, ours := " tell 40004,", " tell 40002,"
		if c.State == Answering || c.State == Recovering {
			theirs = ours
		}
		if c.Direction == Outbound && !c.answered() {
			ours = " tell 40001,"
		}
		all["SDP error"] = strings.Replace(end, " ", theirs+" ", 1)
		all["media error"] = strings.Replace(end, " ", ours+" ", 1)
		all["media connected"], all["media disconnected"] = stay, stay
		all["network changed"] = stay
		all["mute"], all["toggle mute"], all["deaf"] = stay+" mute media true", stay+" mute media true", stay+" deaf media true"
	}
	switch c.State {
	case Active, Held:
		all["line lost"], all["digit"] = stay, stay+" tell digit 5"
		all["transfer"], all["transfer modified"], all["transfer failed"] = stay+" send modify transfer 100", stay, stay
		delete(all, "media failed")
		all["network changed"] = strings.TrimSpace(stay + " " + movedBy(c))
		if c.mend == mendNone {
			break
		}
		delete(all, "media error")
		delete(all, "SDP error")
		all["attach"] = "recovering arm recover, make attach sdp"
		all["send digits"], all["hold"], all["toggle hold"] = "active send digits 5", "active send modify hold", "active send modify toggleHold"
		all["media lost"], all["media failed"] = stay, stay
	case Recovering:
		all["line lost"], all["digit"] = "recovering arm lost", "recovering tell digit 5"
		all["media lost"], all["media failed"] = stay, stay
		all["attach"] = "recovering drop fresh, arm recover, make attach sdp"
		all["timeout recover"], all["timeout lost"] = end, end
	}
	return all
}
