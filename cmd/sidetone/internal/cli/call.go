package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sidetone/audio/device"
	"sidetone/cmd/internal/subcommand"
	"sidetone/cmd/sidetone/internal/appliance"
	"sidetone/cmd/sidetone/internal/control"
)

// placeCall places one call: through the running daemon when its socket answers and no WAV is given, else as the same
// appliance alone for this call.
func placeCall(ctx context.Context, e subcommand.Env, args []string) int {
	set, file := flags(e, "call")
	in := set.String("in", "", "a WAV `file` to say instead of the microphone")
	out := set.String("out", "", "a WAV `file` to write what is heard to")
	length := set.Duration("for", 0, "hang up this long after the call is active; 0 stays until the other side ends it")
	how := dialFlags(set)
	asJSON := set.Bool("json", false, "print an event a line as JSON, the report last")
	cfg, words, code := prepare(e, set, file, args, 1, 1)
	if cfg == nil {
		return code
	}
	if *length < 0 {
		fmt.Fprintf(e.Err, "sidetone call: --for %s is negative\n", *length)
		return subcommand.Usage
	}
	p := printer{Env: e, json: *asJSON, unheard: errors.New("no report came of it")}
	request := control.CallRequest{DialRequest: how(words[0]), For: *length}
	var err error
	if *in == "" && *out == "" && control.Alive(cfg.Control.Socket) {
		err = control.NewClient(cfg.Control.Socket).Call(ctx, request, p.event)
	} else {
		if *in != "" {
			cfg.Audio.Capture = "wav:" + *in
		}
		if *out != "" {
			cfg.Audio.Playback = "wav:" + *out
		}
		// One side as a file makes the other side one too: a card cannot share its clock with a file.
		if *in != "" && *out == "" {
			cfg.Audio.Playback = "null"
		} else if *out != "" && *in == "" {
			cfg.Audio.Capture = "null"
		}
		if err := device.Check(cfg.Audio.Capture, cfg.Audio.Playback); err != nil {
			return tool.Fail(e, subcommand.Usage, err)
		}
		log, wrong := subcommand.Logger(e, cfg.Log.Level)
		if wrong != nil {
			return tool.Fail(e, subcommand.Usage, wrong)
		}
		opt := appliance.Options{Config: cfg, Version: Version, Built: built(), Logger: log, Solo: true}
		err = appliance.Once(ctx, opt, request, p.event)
	}
	var refused *control.RefusedError
	switch {
	case errors.As(err, &refused):
		p.event(control.Event{Event: "error", Code: refused.Status.Code, Name: refused.Status.Name, Message: refused.Status.Message})
		return exitRefused
	case err != nil && !errors.Is(err, context.Canceled):
		p.event(control.Event{Event: "error", Message: err.Error()})
		return subcommand.Failed
	case !p.answered:
		return tool.Fail(e, subcommand.Failed, fmt.Errorf("the call to %s was not answered%s", words[0], p.why))
	case p.unheard != nil:
		return tool.Fail(e, subcommand.Failed, fmt.Errorf("the call to %s was answered, but %w", words[0], p.unheard))
	}
	return subcommand.OK
}

// printer shows events, and remembers what decides the exit code.
type printer struct {
	subcommand.Env
	json     bool
	answered bool
	held     bool // when it ended
	why      string
	unheard  error // why the far side was not heard in the end
}

func (p *printer) event(e control.Event) {
	if e.State == "active" {
		p.answered = true
	}
	if e.State == "hangup" {
		p.held = e.PrevState == "held"
	}
	if e.State == "hangup" && e.Call != nil && e.Call.Cause.Cause != "" {
		p.why = fmt.Sprintf(": %s (%d)", e.Call.Cause.Cause, e.Call.CauseCode)
		if e.Call.SIPCode != 0 {
			p.why += fmt.Sprintf(", SIP %d", e.Call.SIPCode)
		}
		if e.Call.Error != "" {
			p.why += ": " + e.Call.Error
		}
	}
	if e.Report != nil {
		p.unheard = appliance.Heard(e.Report, p.held)
	}
	if p.json {
		json.NewEncoder(p.Out).Encode(e)
		if e.Event == "error" {
			fmt.Fprintf(p.Err, "sidetone: %s\n", problem(e))
		}
		return
	}
	at := (time.Duration(e.TMs) * time.Millisecond).Seconds()
	switch e.Event {
	case "state":
		fmt.Fprintf(p.Out, "%7.2f s  %s%s\n", at, e.State, p.why)
	case "warning":
		fmt.Fprintf(p.Out, "%7.2f s  warning %d %s: %s\n", at, e.Code, e.Name, e.Message)
	case "call_error", "device_error":
		fmt.Fprintf(p.Out, "%7.2f s  %s\n", at, problem(e))
	case "dtmf":
		fmt.Fprintf(p.Out, "%7.2f s  digit %s\n", at, e.Digit)
	case "error":
		fmt.Fprintf(p.Err, "sidetone: %s\n", problem(e))
	case "report":
		fmt.Fprintln(p.Out, summary(e.Report))
	}
}

func problem(e control.Event) string {
	if e.Code != 0 {
		return fmt.Sprintf("error %d %s: %s", e.Code, e.Name, e.Message)
	}
	return e.Message
}
