package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"
	"time"
)

// Command came down from the fleet, on down/cmd/{name}.
type Command struct {
	Name string          // dial, hangup, answer, dtmf, press, …
	ID   string          // answer it with Reply
	By   string          // who gave it
	Args json.RawMessage // nil when there are none
	Exp  time.Time       // it is worth nothing after this
}

// maxCommand is the largest command taken, in bytes.
const maxCommand = 16 << 10

var (
	commandName = regexp.MustCompile(`^[a-z0-9_.-]{1,64}$`)
	commandID   = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,128}$`) // it becomes a topic
)

// parseCommand reads what came on down/cmd/{name}. It knows nothing of the time: see Command.Exp.
func parseCommand(name string, payload []byte) (Command, error) {
	if !commandName.MatchString(name) {
		return Command{}, fmt.Errorf("its name is not letters a-z, digits, dots, hyphens and underscores")
	}
	if len(payload) > maxCommand {
		return Command{}, fmt.Errorf("it is %d bytes long, more than %d", len(payload), maxCommand)
	}
	var p struct {
		ID   string          `json:"id"`
		Exp  json.RawMessage `json:"exp"`
		By   string          `json:"by"`
		Args json.RawMessage `json:"args"`
	}
	if err := json.Unmarshal(payload, &p); err != nil {
		return Command{}, fmt.Errorf("it is not JSON of the form {id, exp, by, args}: %w", err)
	}
	if !commandID.MatchString(p.ID) {
		return Command{}, errors.New("it has no id of letters, digits and _.:-, at most 128")
	}
	exp, err := parseExp(p.Exp)
	if err != nil {
		return Command{}, err
	}
	if string(p.Args) == "null" {
		p.Args = nil
	}
	return Command{Name: name, ID: p.ID, By: p.By, Args: p.Args, Exp: exp}, nil
}

// parseExp reads unix seconds, whole or not, or RFC 3339.
func parseExp(raw json.RawMessage) (time.Time, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return time.Time{}, errors.New("it has no exp, and commands without expiry are refused")
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return time.Time{}, fmt.Errorf("its exp is not RFC 3339: %w", err)
		}
		return t, nil
	}
	var seconds float64
	if err := json.Unmarshal(raw, &seconds); err != nil || math.Abs(seconds) > 1<<40 {
		return time.Time{}, errors.New("its exp is neither unix seconds nor RFC 3339")
	}
	return time.UnixMilli(int64(seconds * 1000)), nil
}

// gate holds back commands that must not be carried out. It belongs to the loop alone.
type gate struct {
	seen map[string]struct{}
	ring []string // in order of arrival, from next
	next int
}

// remembered is how many ids the gate knows: commands live for seconds, so that is far more than can be replayed.
const remembered = 512

// pass reads a command and says why it must be dropped, if it must.
func (g *gate) pass(name string, payload []byte, retained bool, now time.Time) (Command, error) {
	if retained {
		return Command{}, errors.New("it is retained, and commands never are; clear the topic at the broker")
	}
	c, err := parseCommand(name, payload)
	if err != nil {
		return Command{}, err
	}
	if !now.Before(c.Exp) {
		return Command{}, fmt.Errorf("it expired at %s, and it is %s", c.Exp.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	if _, ok := g.seen[c.ID]; ok {
		return Command{}, fmt.Errorf("id %s was seen before", c.ID)
	}
	if g.seen == nil {
		g.seen = make(map[string]struct{}, remembered)
		g.ring = make([]string, remembered)
	}
	delete(g.seen, g.ring[g.next])
	g.seen[c.ID] = struct{}{}
	g.ring[g.next] = c.ID
	g.next = (g.next + 1) % remembered
	return c, nil
}

// take handles one message from the broker.
func (a *Agent) take(g *gate, topic string, payload []byte, retained bool) {
	below, _ := strings.CutPrefix(topic, a.root)
	if below == statusTopic {
		// Only what is said now: a retained word is older than our own.
		if !retained && string(payload) == "offline" {
			a.log.Info("an older connection's last will said offline; saying online again")
			a.sayOnline()
		}
		return
	}
	name, ok := strings.CutPrefix(below, "down/cmd/")
	if !ok {
		return
	}
	c, err := g.pass(name, payload, retained, time.Now())
	if err != nil {
		a.log.Warn("command dropped", "command", clip(name), "why", clip(err.Error()))
		return
	}
	select {
	case a.commands <- c:
	default:
		a.log.Warn("command refused: others still wait", "command", name, "id", c.ID)
		a.Reply(c.ID, Reply{Code: 503, Error: "busy: other commands still wait; try again"})
	}
}

// clip keeps a stranger's words from flooding the log.
func clip(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}
