// Package e2e_test runs the real programs as a user does: the lab and devices, built here, over loopback.
package e2e_test

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
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// bin holds the programs under test.
var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		if bin = os.Getenv(programs); bin != "" { // in a namespace of another run's
			return m.Run()
		}
		dir, err := os.MkdirTemp("", "sidetone-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		bin = dir
		build := exec.Command("go", "build", "-o", dir, "sidetone/cmd/sidetone", "sidetone/cmd/sidetone-lab", "sidetone/cmd/sidetone-bench")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building the programs: %v\n%s", err, out)
			return 1
		}
		code := m.Run()
		if err := goleak.Find(); code == 0 && err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		return code
	}())
}

// lab is a running sidetone-lab, as its --json line describes it.
type lab struct {
	WS           string                      `json:"ws"`
	WSS          string                      `json:"wss"`
	CA           string                      `json:"ca"`
	TokenAPI     string                      `json:"token_api"`
	APIKey       string                      `json:"api_key"`
	TURN         []string                    `json:"turn"`
	TURNUser     string                      `json:"turn_user"`
	TURNPassword string                      `json:"turn_password"`
	MQTT         string                      `json:"mqtt"`
	MQTTS        string                      `json:"mqtts"`
	Update       struct{ Repo, Keys string } `json:"update"`
	MQTTAdmin    struct {
		User     string `json:"user"`
		Password string `json:"password"`
	} `json:"mqtt_admin"`
	Web     string            `json:"web"`
	Devices map[string]string `json:"devices"`

	dir  string
	proc *process
	in   *namespace // nil: where the test is
}

// startLab brings a lab up on free loopback ports; it ends with the test.
func startLab(t testing.TB) *lab {
	t.Helper()
	return startLabIn(t, t.TempDir(), "127.0.0.1:0")
}

func startLabIn(t testing.TB, dir, listen string) *lab {
	t.Helper()
	return (*namespace)(nil).startLab(t, dir, "--listen", listen)
}

// startLab brings a lab up in a namespace.
func (n *namespace) startLab(t testing.TB, dir string, args ...string) *lab {
	t.Helper()
	name, args := n.enter("sidetone-lab", append([]string{"up", "--json", "--dir", dir}, args...)...)
	p := start(t, name, args...)
	l := &lab{dir: dir, proc: p, in: n}
	line := p.line(t, 30*time.Second)
	if err := json.Unmarshal([]byte(line), l); err != nil {
		t.Fatalf("lab's line %q: %v", line, err)
	}
	return l
}

// tool runs a sub-command of the lab that returns at once.
func (l *lab) tool(t testing.TB, args ...string) (out string, code int) {
	t.Helper()
	name, args := l.in.enter("sidetone-lab", append(args, "--dir", l.dir)...)
	r := run(t, 30*time.Second, nil, name, args...)
	return r.out, r.code
}

// process is a program under test.
type process struct {
	name   string
	cmd    *exec.Cmd
	lines  chan string
	stderr *tail
	done   chan struct{}
	once   sync.Once
}

// start runs a program of ours, or any by its path, until the test ends, when it gets SIGTERM and must go.
func start(t testing.TB, name string, args ...string) *process {
	t.Helper()
	return startEnv(t, nil, name, args...)
}

func startEnv(t testing.TB, env []string, name string, args ...string) *process {
	t.Helper()
	p := &process{name: filepath.Base(name), lines: make(chan string, 4096), stderr: &tail{}, done: make(chan struct{})}
	p.cmd = exec.Command(program(name), args...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		defer close(p.lines)
		s := bufio.NewScanner(stdout)
		s.Buffer(nil, 16<<20)
		for s.Scan() {
			select {
			case p.lines <- s.Text():
			default: // nobody reads: the newest lines are lost, the process is not held up
			}
		}
		io.Copy(io.Discard, stdout)
		p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.end(t)
		if t.Failed() {
			t.Logf("stderr of %s %s:\n%s", name, strings.Join(args, " "), p.stderr)
		}
	})
	return p
}

// program is the path of a program of ours; a path stays as it is.
func program(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(bin, name)
}

// line gives the next line of standard output.
func (p *process) line(t testing.TB, within time.Duration) string {
	t.Helper()
	select {
	case l, ok := <-p.lines:
		if !ok {
			t.Fatalf("%s ended; stderr:\n%s", p.name, p.stderr)
		}
		return l
	case <-time.After(within):
		t.Fatalf("%s says nothing within %s; stderr:\n%s", p.name, within, p.stderr)
	}
	return ""
}

// end asks the process to go, and fails the test if it has to be killed.
func (p *process) end(t testing.TB) (took time.Duration) {
	t.Helper()
	p.once.Do(func() {
		begin := time.Now()
		p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
			took = time.Since(begin)
		case <-time.After(10 * time.Second):
			t.Errorf("%s does not end at SIGTERM", p.name)
			p.cmd.Process.Kill()
			<-p.done
		}
	})
	return took
}

// kill ends the process without a word.
func (p *process) kill() {
	p.once.Do(func() {
		p.cmd.Process.Kill()
		<-p.done
	})
}

// result of a program that ran to its end.
type result struct {
	out, err string
	code     int
}

func run(t testing.TB, limit time.Duration, env []string, name string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(name), args...)
	cmd.Env = append(os.Environ(), env...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", name, err)
	}
	if ctx.Err() != nil {
		t.Fatalf("%s %s did not end within %s\n%s%s", name, strings.Join(args, " "), limit, &out, &errOut)
	}
	return result{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
}

// event is a line of `sidetone call --json`.
type event struct {
	Event     string      `json:"event"`
	State     string      `json:"state"`
	PrevState string      `json:"prevState"`
	TMs       int64       `json:"t_ms"`
	Code      int         `json:"code"`
	Name      string      `json:"name"`
	Message   string      `json:"message"`
	Digit     string      `json:"digit"`
	GapMs     int64       `json:"gap_ms"`
	CallID    string      `json:"call_id"`
	Line      *lineStatus `json:"line"`
	Report    *report     `json:"report"`
	Stats     *struct {
		In  meter `json:"inboundAudio"`
		Out meter `json:"outboundAudio"`
	} `json:"stats"`
}

type meter struct {
	Level float64 `json:"audioLevel"`
}

// lineStatus is what the device says of its line.
type lineStatus struct {
	State   string    `json:"state"`
	Code    int       `json:"code"`
	Since   time.Time `json:"since"`
	RetryAt time.Time `json:"retry_at"`
}

type warning struct {
	Name string `json:"name"`
}

// report is what the tests read of a call report.
type report struct {
	Summary struct {
		CallID          string  `json:"callId"`
		Direction       string  `json:"direction"`
		DurationSeconds float64 `json:"durationSeconds"`
		Cause           string  `json:"cause"`
		CauseCode       int     `json:"causeCode"`
		SIPCode         int     `json:"sipCode"`
		SessionID       string  `json:"telnyxSessionId"`

		ActiveTimestamp time.Time `json:"activeTimestamp"`
	} `json:"summary"`
	Quality struct {
		R   float64 `json:"r_factor"`
		MOS float64 `json:"mos"`

		NetworkLoss float64 `json:"network_loss"` // percent
	} `json:"quality"`
	Path struct {
		Local struct {
			CandidateType string `json:"candidateType"`
			Address       string `json:"address"`
			URL           string `json:"url"`
		} `json:"local"`
		RelayProtocol string `json:"relayProtocol"`
		Policy        string `json:"policy"`
		Why           string `json:"why"`
		Changes       int    `json:"selectedCandidatePairChanges"`
	} `json:"path"`
	Warnings []warning `json:"warnings"`
	Timeline []struct {
		Event string `json:"event"`
	} `json:"timeline"`
	Stats []struct {
		Audio struct {
			Inbound struct {
				Codec struct {
					MimeType string `json:"mimeType"`
				} `json:"codec"`
				JitterBufferDelay        float64 `json:"jitterBufferDelay"` // seconds, over all samples emitted
				JitterBufferEmittedCount uint64  `json:"jitterBufferEmittedCount"`
				TotalSamplesReceived     uint64  `json:"totalSamplesReceived"`
				ConcealedSamples         uint64  `json:"concealedSamples"`
			} `json:"inbound"`
		} `json:"audio"`
	} `json:"stats"`
	Logs []struct {
		Message string `json:"message"`
	} `json:"logs"`
}

// events parses the output of `sidetone call --json`; every line must be one.
func events(t testing.TB, out string) (all []event) {
	t.Helper()
	for line := range strings.Lines(out) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		all = append(all, e)
	}
	return all
}

// reportOf gives the last event, which must be the report.
func reportOf(t testing.TB, all []event) *report {
	t.Helper()
	if len(all) == 0 || all[len(all)-1].Report == nil {
		t.Fatalf("the last of %d events is no report: %+v", len(all), all)
	}
	return all[len(all)-1].Report
}

// states lists the call's states in order.
func states(all []event) (s []string) {
	for _, e := range all {
		if e.Event == "state" {
			s = append(s, e.State)
		}
	}
	return s
}

// tail keeps the end of what a program wrote.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if over := len(t.buf) - 1<<20; over > 0 {
		t.buf = t.buf[over:]
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
