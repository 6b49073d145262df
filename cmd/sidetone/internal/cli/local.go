package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"sidetone/cmd/internal/subcommand"
	"sidetone/cmd/sidetone/internal/control"
	"sidetone/provisioning/config"
	"sidetone/rtc/call"
	"sidetone/rtc/quality"
)

// localTimeout bounds what a command waits for the daemon.
const localTimeout = 10 * time.Second

// remote is a sub-command that has the running device do one of control.Commands.
type remote struct {
	command     string
	least, most int // words
	// request makes the request; words are there when it is called, and so are the flags that it may have made of set.
	request func(set *flag.FlagSet) func(words []string) any
}

func (r remote) run(ctx context.Context, e subcommand.Env, args []string) int {
	set, file := flags(e, r.command)
	request := r.request(set)
	cfg, words, code := prepare(e, set, file, args, r.least, r.most)
	if cfg == nil {
		return code
	}
	ctx, cancel := context.WithTimeout(ctx, localTimeout)
	defer cancel()
	var result json.RawMessage
	if err := control.NewClient(cfg.Control.Socket).Do(ctx, r.command, request(words), &result); err != nil {
		return tool.Fail(e, subcommand.Failed, err)
	}
	if result != nil {
		fmt.Fprintf(e.Out, "%s\n", bytes.TrimSpace(result))
	}
	return subcommand.OK
}

// plain is a request of words alone.
func plain(request func(words []string) any) func(*flag.FlagSet) func([]string) any {
	return func(*flag.FlagSet) func([]string) any { return request }
}

// ofCall is a request about a call, which --call names.
func ofCall(request func(callID string, words []string) any) func(*flag.FlagSet) func([]string) any {
	return func(set *flag.FlagSet) func([]string) any {
		id := set.String("call", "", "the call's `id`; without it the one that fits")
		return func(words []string) any { return request(*id, words) }
	}
}

var (
	press = remote{"press", 0, 1, plain(func(words []string) any {
		return control.PressRequest{Button: strings.Join(words, "")}
	})}
	doorOpened = remote{"door-opened", 0, 0, plain(func([]string) any { return struct{}{} })}
	dial       = remote{"dial", 1, 1, func(set *flag.FlagSet) func([]string) any {
		request := dialFlags(set)
		return func(words []string) any { return request(words[0]) }
	}}
	answer = remote{"answer", 0, 0, func(set *flag.FlagSet) func([]string) any {
		var r control.AnswerRequest
		set.StringVar(&r.CallID, "call", "", "the call's `id`; without it the one that rings")
		headerFlag(set, &r.Headers)
		return func([]string) any { return r }
	}}
	dtmf = remote{"dtmf", 1, 1, ofCall(func(id string, words []string) any {
		return control.DTMFRequest{CallID: id, Digits: words[0]}
	})}
	transfer = remote{"transfer", 1, 1, ofCall(func(id string, words []string) any {
		return control.TransferRequest{CallID: id, Destination: words[0]}
	})}
	useSound = remote{"device", 0, 0, func(set *flag.FlagSet) func([]string) any {
		capture := set.String("capture", "", "the `device` that captures: auto, null, card:NAME or wav:PATH")
		playback := set.String("playback", "", "the `device` that plays: the same choices")
		return func([]string) any {
			return control.DeviceRequest{Capture: absolute(*capture), Playback: absolute(*playback)}
		}
	}}
	volume = remote{"volume", 0, 2, plain(func(words []string) any {
		var q control.VolumeRequest
		if len(words) > 0 {
			q.Role = words[0]
		}
		if len(words) > 1 {
			percent, err := strconv.Atoi(strings.TrimSuffix(words[1], "%"))
			if err != nil {
				percent = -1 // the device says what is allowed
			}
			q.Percent = &percent
		}
		return q
	})}
	say = remote{"say", 1, 1, func(set *flag.FlagSet) func([]string) any {
		var images words
		set.Var(&images, "image", "a picture's `URL`; may be given several times")
		return func(words []string) any { return control.SayRequest{Text: words[0], Images: images} }
	}}
	toolResult = remote{"tool-result", 2, 2, plain(func(words []string) any {
		return control.ToolResultRequest{ToolCallID: words[0], Output: words[1]}
	})}
)

// absolute makes the path in wav:PATH one that means the same to the running device.
func absolute(device string) string {
	if path, ok := strings.CutPrefix(device, "wav:"); ok {
		if full, err := filepath.Abs(path); err == nil {
			return "wav:" + full
		}
	}
	return device
}

// act makes the sub-command of an act.
func act(a control.Act) remote {
	return remote{string(a), 0, 0, ofCall(func(id string, _ []string) any { return control.CallIDRequest{CallID: id} })}
}

// words is a flag that may be given several times.
type words []string

func (w *words) String() string { return strings.Join(*w, ", ") }

func (w *words) Set(s string) error {
	*w = append(*w, s)
	return nil
}

// dialFlags are the flags that say how to call.
func dialFlags(set *flag.FlagSet) func(destination string) control.DialRequest {
	var r control.DialRequest
	set.BoolVar(&r.Relay, "relay", false, "media through TURN only")
	set.BoolVar(&r.Muted, "muted", false, "begin with the microphone off")
	set.StringVar(&r.CallerName, "caller-name", "", "the `name` that the called party sees")
	set.StringVar(&r.CallerNumber, "caller-number", "", "the `number` that the called party sees")
	set.StringVar(&r.ClientState, "client-state", "", "any `text` for the platform to hand on")
	headerFlag(set, &r.Headers)
	set.Var((*words)(&r.Codecs), "codec", "a `codec` to offer, opus, pcmu or pcma, best first; may be given several times")
	return func(destination string) control.DialRequest {
		r.Destination = destination
		return r
	}
}

func headerFlag(set *flag.FlagSet, headers *[]call.Header) {
	set.Func("header", "a SIP header, as `X-Name=value`; may be given several times", func(s string) error {
		name, value, ok := strings.Cut(s, "=")
		if !ok {
			return errors.New("write it X-Name=value")
		}
		*headers = append(*headers, call.Header{Name: name, Value: value})
		return nil
	})
}

// watch prints what happens on the running device, an event a line as JSON, until it is interrupted.
func watch(ctx context.Context, e subcommand.Env, args []string) int {
	set, file := flags(e, "watch")
	cfg, _, code := prepare(e, set, file, args, 0, 0)
	if cfg == nil {
		return code
	}
	out := json.NewEncoder(e.Out)
	if err := control.NewClient(cfg.Control.Socket).Watch(ctx, func(event control.Event) { out.Encode(event) }); err != nil && ctx.Err() == nil {
		return tool.Fail(e, subcommand.Failed, err)
	}
	return subcommand.OK
}

func status(ctx context.Context, e subcommand.Env, args []string) int {
	set, file := flags(e, "status")
	asJSON := set.Bool("json", false, "print JSON")
	cfg, _, code := prepare(e, set, file, args, 0, 0)
	if cfg == nil {
		return code
	}
	ctx, cancel := context.WithTimeout(ctx, localTimeout)
	defer cancel()
	s, err := control.NewClient(cfg.Control.Socket).Status(ctx)
	if err != nil {
		return tool.Fail(e, subcommand.Failed, err)
	}
	if *asJSON {
		json.NewEncoder(e.Out).Encode(s)
		return subcommand.OK
	}
	fmt.Fprintf(e.Out, "device   %s (fleet %s), sidetone %s, up %s\n", s.Device, s.Fleet, s.Version, time.Since(s.Started).Round(time.Second))
	fmt.Fprintf(e.Out, "line     %s\n", s.Line)
	fmt.Fprintf(e.Out, "lamp     %s\n", s.Indicator)
	fmt.Fprintf(e.Out, "mqtt     %s\n", s.MQTT)
	fmt.Fprintf(e.Out, "sound    %s\n", s.Sound)
	if d := s.SoundDevice; d != (quality.SoundDevice{}) {
		fmt.Fprintf(e.Out, "         %d overruns, %d underruns, opened again %d times\n", d.Overruns, d.Underruns, d.Reopened)
	}
	var wrong []string
	for _, h := range s.Health {
		wrong = append(wrong, string(h.Code))
	}
	fmt.Fprintf(e.Out, "health   %s\n", cmp.Or(strings.Join(wrong, ", "), "well"))
	if s.LastReset != "" {
		fmt.Fprintf(e.Out, "reset    the board was reset before this start of it: %s\n", s.LastReset)
	}
	if s.Update != nil {
		fmt.Fprintf(e.Out, "update   %s\n", s.Update)
	}
	for _, c := range s.Calls {
		fmt.Fprintf(e.Out, "call     %s %s %s (%s)\n", c.State, c.Direction, cmp.Or(c.Destination, c.RemoteName, c.RemoteID), c.ID)
	}
	return subcommand.OK
}

func configCommand(_ context.Context, e subcommand.Env, args []string) int {
	set, file := flags(e, "config")
	words, code, ok := subcommand.Parse(e, set, args, 1, 1)
	if !ok {
		return code
	}
	switch words[0] {
	case "default":
		fmt.Fprint(e.Out, config.Reference)
		return subcommand.OK
	case "check":
		cfg, err := load(*file)
		if err != nil {
			return tool.Fail(e, subcommand.Usage, err)
		}
		merged, err := cfg.Encode()
		if err != nil {
			return tool.Fail(e, subcommand.Failed, err)
		}
		fmt.Fprintf(e.Out, "%s is good\n", *file)
		fmt.Fprintf(e.Out, "\n# What differs from the defaults, with what the profiles of the board say:\n%s", merged)
		return subcommand.OK
	}
	fmt.Fprintln(e.Err, "sidetone config: say `config check --config F` or `config default`")
	return subcommand.Usage
}

func version(_ context.Context, e subcommand.Env, _ []string) int {
	fmt.Fprintf(e.Out, "sidetone %s %s %s/%s\n", Version, cmp.Or(Commit, "unknown"), runtime.GOOS, runtime.GOARCH)
	return subcommand.OK
}
