package e2e_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sidetone/audio"
	"sidetone/audio/audiotest"
)

// coturn is the TURN server that the world runs, with its nonces good for ten minutes as its manual has it.
type coturn struct {
	udp, tcp, tls string // URLs
	log           string // file
}

const (
	coturnUser     = "door"
	coturnPassword = "correct-horse"
	staleNonce     = 600 * time.Second
)

// startCoturn brings one up on loopback, with a certificate of the lab's CA.
func startCoturn(t *testing.T, l *lab) coturn {
	t.Helper()
	cert, key := l.certificate(t, t.TempDir())
	return (*namespace)(nil).startCoturn(t, "127.0.0.1", "--cert="+cert, "--pkey="+key, "--allow-loopback-peers")
}

// startCoturn brings one up in a namespace.
func (n *namespace) startCoturn(t *testing.T, listen string, more ...string) coturn {
	t.Helper()
	server, err := exec.LookPath("turnserver")
	if err != nil {
		t.Skip("no turnserver: buildroot/setup.sh test installs it (Debian package coturn)")
	}
	dir := t.TempDir()
	port, secure := freePort(t), freePort(t)
	c := coturn{
		udp: fmt.Sprintf("turn:%s:%d?transport=udp", listen, port),
		tcp: fmt.Sprintf("turn:%s:%d?transport=tcp", listen, port),
		tls: fmt.Sprintf("turns:%s:%d?transport=tcp", listen, secure),
		log: filepath.Join(dir, "turn.log"),
	}
	name, args := n.enter(server, append(more, "-n", "--listening-ip="+listen, "--relay-ip="+listen,
		fmt.Sprint("--listening-port=", port), fmt.Sprint("--tls-listening-port=", secure),
		"--lt-cred-mech", "--user="+coturnUser+":"+coturnPassword, "--realm=sidetone", fmt.Sprintf("--stale-nonce=%.0f", staleNonce.Seconds()),
		"--no-cli", "--no-rfc5780", "--relay-threads=1", "--verbose",
		"--userdb="+filepath.Join(dir, "users"), "--pidfile="+filepath.Join(dir, "pid"), "--log-file="+c.log, "--simple-log")...)
	start(t, name, args...)
	eventually(t, 20*time.Second, "coturn listens", func() bool {
		name, args := n.enter("/bin/bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/%s/%d", listen, port))
		return exec.Command(name, args...).Run() == nil
	})
	return c
}

// certificate writes one for 127.0.0.1 and its key to dir.
func (l *lab) certificate(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	ca, err := tls.LoadX509KeyPair(l.CA, strings.TrimSuffix(l.CA, ".pem")+".key")
	if err != nil {
		t.Fatal(err)
	}
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, ca.Leaf, own.Public(), ca.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "turn.pem"), filepath.Join(dir, "turn.key")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// stale counts the requests that the server refused because their nonce was too old.
func (c coturn) stale(t *testing.T) (n int) {
	t.Helper()
	b, err := os.ReadFile(c.log)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(b, []byte("error 438"))
}

// talk says speech of that length to the echo through coturn alone, and judges all that came back.
func (c coturn) talk(t *testing.T, l *lab, device, url, protocol string, length time.Duration) error {
	t.Helper()
	stalls := watchStalls(t)
	dir := t.TempDir()
	saidFile, heardFile := filepath.Join(dir, "said.wav"), filepath.Join(dir, "heard.wav")
	// A playout buffer listens to a stream of packets before it plays it: nobody speaks in the first moment of a call.
	said := slices.Concat(make([]int16, audio.SampleRate/5), audiotest.Speech(uint64(len(protocol)), length))
	if err := audiotest.WriteWAV(saidFile, said, audio.SampleRate); err != nil {
		t.Fatal(err)
	}
	config := l.withTURN(t, device, "coturn-"+protocol, url, coturnUser, coturnPassword)
	r := run(t, length+time.Minute, nil, "sidetone", "call", "--config", config, "--relay", "--json",
		"--in", saidFile, "--out", heardFile, "--for", length.String(), "echo")
	if r.code != 0 {
		t.Fatalf("exit %d\n%s\n%s", r.code, r.out, r.err)
	}
	all := events(t, r.out)
	if got := states(all); !slices.Contains(got, "active") || !slices.IsSorted(order(got)) {
		t.Errorf("states %v", got)
	}
	report := reportOf(t, all)
	if report.Path.Local.CandidateType != "relay" || report.Path.RelayProtocol != protocol {
		t.Errorf("path %+v, want a relay by %s", report.Path, protocol)
	}
	if d := report.Summary.DurationSeconds; d < length.Seconds()-1 || report.Summary.CauseCode != 16 {
		t.Errorf("the call ended after %.1f of %v: %+v", d, length, report.Summary)
	}
	// The echo keeps the gaps of what it was sent: this is what was lost on both ways.
	if report.Quality.NetworkLoss > 0 {
		t.Errorf("%.3f %% of all packets were lost", report.Quality.NetworkLoss)
	}
	heard, _, err := audiotest.ReadWAV(heardFile)
	if err != nil {
		t.Fatal(err)
	}
	return whole(t, said, heard, report.Summary.ActiveTimestamp, stalls())
}

// piece of a long recording that is compared at once: the playout buffer may move by some milliseconds between two.
const piece = 10 * time.Second

// whole says what of said is not in heard. All of it must be there, in order, but for the last piece, which is cut by the
// end of the call, and for pieces in which this machine stood still: those are counted, and must stay few.
func whole(t *testing.T, said, heard []int16, active time.Time, stalls []stall) error {
	t.Helper()
	var errs []error
	const n = int(piece / time.Second * audio.SampleRate)
	lag, worst := 0, 1.0 // of the piece before, in samples
	pieces, stalled := 0, 0
	for at := 0; at+2*n <= len(said) || at == 0; at += n {
		end := min(at+n, len(said))
		from := min(max(at+lag-n/10, 0), len(heard))
		cmp := audiotest.CompareMoved(said[at:end], heard[from:min(end+lag+n/10, len(heard))])
		pieces++
		if err := cmp.Err(); err != nil {
			begin := active.Add(samples(at))
			if still := stalledIn(stalls, begin.Add(-time.Second), begin.Add(piece+samples(lag)+time.Second)); still > 0 {
				t.Logf("at %v this machine stood still for %v: %v", samples(at), still, cmp)
				stalled++
				continue
			}
			errs = append(errs, fmt.Errorf("at %v: %w", samples(at), err))
			continue
		}
		lag = from - at + int(cmp.Lag*audio.SampleRate/time.Second)
		worst = min(worst, slices.Min(cmp.Correlation[:]))
	}
	t.Logf("%d pieces of %v: %d with holes of this machine's making; the last comes back after %v; least correlation of the others %.3f",
		pieces, piece, stalled, samples(lag), worst)
	if stalled > pieces/5 {
		errs = append(errs, fmt.Errorf("this machine is too busy to judge a call: %d of %d pieces have holes of its making", stalled, pieces))
	}
	return errors.Join(errs...)
}

// stall is a time in which this process, and so most likely others, did not get to run.
type stall struct {
	end time.Time
	by  time.Duration
}

// watchStalls notes until the end of the test when this machine was late by more than a playout buffer forgives.
func watchStalls(t *testing.T) func() []stall {
	const tick, late = 5 * time.Millisecond, 40 * time.Millisecond
	var mu sync.Mutex
	var all []stall
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for last := time.Now(); ; {
			select {
			case <-stop:
				return
			case <-time.After(tick):
			}
			now := time.Now()
			if by := now.Sub(last) - tick; by > late {
				mu.Lock()
				all = append(all, stall{now, by})
				mu.Unlock()
			}
			last = now
		}
	}()
	t.Cleanup(func() { close(stop); <-done })
	return func() []stall {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

func stalledIn(stalls []stall, from, to time.Time) (longest time.Duration) {
	for _, s := range stalls {
		if s.end.After(from) && s.end.Add(-s.by).Before(to) {
			longest = max(longest, s.by)
		}
	}
	return longest
}

// TestCoturn calls through coturn by each way there is to it.
func TestCoturn(t *testing.T) {
	l := startLab(t)
	c := startCoturn(t, l)
	for _, w := range []struct{ device, url, protocol string }{{"door1", c.udp, "udp"}, {"door2", c.tcp, "tcp"}, {"kiosk1", c.tls, "tls"}} {
		t.Run(w.protocol, func(t *testing.T) {
			t.Parallel()
			tries(t, func() error { return c.talk(t, l, w.device, w.url, w.protocol, 12*time.Second) })
		})
	}
}
