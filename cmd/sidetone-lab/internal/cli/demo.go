package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"text/tabwriter"
	"time"

	"sidetone/cmd/internal/subcommand"
	"sidetone/cmd/sidetone-lab/internal/lab"
	"sidetone/cmd/sidetone-lab/internal/report"

	"golang.org/x/term"
)

// demoCall is how long the demo's call lasts.
const demoCall = 10 * time.Second

// childGrace is how long a device may take to end after it was asked to.
const childGrace = 5 * time.Second

// demo starts a lab and a device. In a terminal the device stays up, and its button is a key; else it makes one call.
func demo(ctx context.Context, e subcommand.Env, args []string) int {
	set, dir := flags(e, "demo")
	speech := set.String("speech", "", "the WAV `file` that the device says; without one it says nothing")
	binary := set.String("sidetone", "", "the device's `program` (default: sidetone beside this one)")
	level := set.String("log", "warn", "log from this `level` on: debug, info, warn, error")
	if _, code, ok := subcommand.Parse(e, set, args, 0, 0); !ok {
		return code
	}
	log, err := subcommand.Logger(e, *level)
	if err != nil {
		return tool.Fail(e, subcommand.Usage, err)
	}
	device, err := findDevice(*binary)
	if err != nil {
		return tool.Fail(e, subcommand.Failed, err)
	}
	l, err := lab.Start(ctx, lab.Config{Dir: *dir, Listen: "127.0.0.1:0", Logger: log})
	if err != nil {
		return tool.Fail(e, subcommand.Failed, err)
	}
	defer l.Close()
	if term.IsTerminal(int(e.In.Fd())) {
		return demoTerminal(ctx, e, device, l.Info())
	}
	return demoOneCall(ctx, e, device, *dir, *speech, l.Info())
}

// findDevice gives the path of the device's program.
func findDevice(path string) (string, error) {
	if path == "" {
		self, err := os.Executable()
		if err != nil {
			return "", err
		}
		path = filepath.Join(filepath.Dir(self), "sidetone")
	}
	if _, err := exec.LookPath(path); err != nil {
		return "", fmt.Errorf("the device's program: %w; build it with make build, or name it with --sidetone", err)
	}
	return filepath.Abs(path)
}

// child is the device's program with args. It is asked to end when ctx does, and ends with us in any case.
func child(ctx context.Context, device string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, device, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = childGrace
	endWithUs(cmd)
	return cmd
}

func demoTerminal(ctx context.Context, e subcommand.Env, device string, i lab.Info) int {
	fmt.Fprintf(e.Out, "The lab is up, its page is at %s\n", i.Web)
	fmt.Fprintf(e.Out, "The door station starts now. Press 1 to call the concierge, again to hang up. Ctrl-C ends both.\n\n")
	cmd := child(ctx, device, "run", "--config", i.Devices["door1"])
	cmd.Stdin, cmd.Stdout, cmd.Stderr = e.In, e.Out, e.Err
	err := cmd.Run()
	if ctx.Err() != nil {
		return subcommand.OK // as it was asked to
	}
	return deviceFailed(e, err)
}

func demoOneCall(ctx context.Context, e subcommand.Env, device, dir, speech string, i lab.Info) int {
	heard := filepath.Join(dir, "heard.wav")
	args := []string{"call", "--config", i.Devices["door1"], "--out", heard, "--for", demoCall.String(), "--json", "concierge"}
	if speech != "" {
		args = append([]string{args[0], "--in", speech}, args[1:]...)
	}
	fmt.Fprintf(e.Out, "The lab is up. The door station calls the concierge for %s.\n", demoCall)
	cmd := child(ctx, device, args...)
	var said bytes.Buffer // by the device, for when it fails
	cmd.Stderr = &said
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return deviceFailed(e, err)
	}
	last, readErr := follow(e, stdout)
	err = cmd.Wait()
	if err == nil {
		err = readErr
	}
	if err == nil && last == nil {
		err = errors.New("it ended without a report")
	}
	if err != nil {
		_, _ = io.Copy(e.Err, &said)
		return deviceFailed(e, err)
	}
	printReport(e, *last)
	fmt.Fprintf(e.Out, "\nWhat the door station heard: %s\n", heard)
	return subcommand.OK
}

// deviceFailed says what to look at, and gives the device's exit code.
func deviceFailed(e subcommand.Env, err error) int {
	if err == nil {
		return subcommand.OK
	}
	fmt.Fprintf(e.Err, "sidetone-lab: the device did not succeed: %v\nWhat it wrote is above; for more run it yourself: sidetone-lab up, then sidetone call --config lab/door1.toml concierge\n", err)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return exit.ExitCode()
	}
	return subcommand.Failed
}

// follow shows the events of `sidetone call --json` as they come, and gives the report.
func follow(e subcommand.Env, r io.Reader) (last *report.Report, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 64<<20) // a report is one line
	for lines.Scan() {
		var event struct {
			Event   string          `json:"event"`
			TMs     int64           `json:"t_ms"`
			State   string          `json:"state"`
			Code    int             `json:"code"`
			Name    string          `json:"name"`
			Message string          `json:"message"`
			Digit   string          `json:"digit"`
			Report  json.RawMessage `json:"report"`
		}
		if json.Unmarshal(lines.Bytes(), &event) != nil {
			fmt.Fprintln(e.Out, lines.Text())
			continue
		}
		at := fmt.Sprintf("%8.2f s", float64(event.TMs)/1000)
		switch event.Event {
		case "state":
			fmt.Fprintf(e.Out, "%s  %s\n", at, event.State)
		case "warning", "error":
			fmt.Fprintf(e.Out, "%s  %s %d %s: %s\n", at, event.Event, event.Code, event.Name, event.Message)
		case "dtmf":
			fmt.Fprintf(e.Out, "%s  digit %s\n", at, event.Digit)
		case "report":
			rep, err := report.Parse(event.Report)
			if err != nil {
				return nil, err
			}
			last = &rep
		}
	}
	// What is left has to be read, or the device would wait for us.
	_, _ = io.Copy(io.Discard, r)
	return last, lines.Err()
}

// printReport prints a call report as a short table. What was not measured is left out.
func printReport(e subcommand.Env, r report.Report) {
	fmt.Fprintln(e.Out, "\nCall report")
	w := tabwriter.NewWriter(e.Out, 2, 0, 2, ' ', 0)
	row := func(name, format string, values ...any) {
		fmt.Fprintf(w, "  %s\t%s\n", name, fmt.Sprintf(format, values...))
	}
	number := func(name, format string, v *float64) {
		if v != nil {
			row(name, format, *v)
		}
	}
	row("duration", "%.1f s", r.Seconds)
	if r.Codec != "" {
		row("codec", "%s", r.Codec)
	}
	number("MOS", "%.2f", r.MOS)
	number("R", "%.1f", r.RFactor)
	if r.Path != "" {
		row("path", "%s", r.Path)
	}
	number("RTT", "%.2f ms", r.RTT)
	number("jitter", "%.2f ms", r.Jitter)
	number("loss", "%.2f %%", r.Loss)
	number("concealed", "%.2f %%", r.Concealed)
	number("buffer delay", "%.0f ms", r.Buffer)
	if r.Cause != "" {
		row("ended by", "%s (%d)", r.Cause, r.CauseCode)
	}
	_ = w.Flush()
}
