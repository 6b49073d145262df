package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// FD is where the keeper finds its connection.
const FD = 3

// Supervisor starts the keeper, again whenever it ends, and asks it for pulses. What the keeper had not done when it ended
// is not asked for again: an old pulse is worth nothing.
type Supervisor struct {
	relays  []Relay
	command func() *exec.Cmd
	log     *slog.Logger
	asked   chan order
}

type order struct {
	request
	done chan<- error
}

// Times of a Supervisor.
const (
	answerTime = time.Second     // a keeper that takes longer is killed
	firstTime  = 5 * time.Second // until the lines are open
	stopTime   = time.Second     // from the end of the connection to that of the process
	pauseFirst = 100 * time.Millisecond
	pauseMost  = 5 * time.Second
)

var (
	errAway = errors.New("the relays' keeper is not there; the log says why")
	errBusy = errors.New("too much is asked of the relays at once")
)

// NewSupervisor makes one of these relays. command makes the keeper's process, which is to call Serve with what is at FD.
func NewSupervisor(relays []Relay, command func() *exec.Cmd, log *slog.Logger) *Supervisor {
	return &Supervisor{relays: relays, command: command, log: log, asked: make(chan order, 16)}
}

// Pulse opens a relay for so long from now. The channel gives what became of it, once.
func (s *Supervisor) Pulse(relay string, d time.Duration) <-chan error {
	return s.ask(request{Relay: relay, For: d})
}

// Safe shuts all relays. The channel gives what became of it, once.
func (s *Supervisor) Safe() <-chan error { return s.ask(request{Safe: true}) }

func (s *Supervisor) ask(q request) <-chan error {
	done := make(chan error, 1)
	select {
	case s.asked <- order{q, done}:
	default:
		done <- errBusy
	}
	return done
}

// Run keeps a keeper until ctx ends; then the relays are at rest, and it has ended too. It runs once.
func (s *Supervisor) Run(ctx context.Context) {
	pause := time.Duration(0)
	for {
		s.wait(ctx, pause)
		if ctx.Err() != nil {
			s.drop()
			return
		}
		begin := time.Now()
		err := s.live(ctx)
		if ctx.Err() != nil {
			s.drop()
			return
		}
		pause = min(max(pauseFirst, 2*pause), pauseMost)
		if time.Since(begin) > pauseMost {
			pause = 0
		}
		s.log.Error("the relays' keeper ended; another one is started", "err", err, "after", pause)
	}
}

// wait pauses, and refuses meanwhile.
func (s *Supervisor) wait(ctx context.Context, pause time.Duration) {
	t := time.NewTimer(pause)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			return
		case o := <-s.asked:
			o.done <- errAway
		}
	}
}

// drop refuses what waits.
func (s *Supervisor) drop() {
	for {
		select {
		case o := <-s.asked:
			o.done <- errAway
		default:
			return
		}
	}
}

// live is the life of one keeper.
func (s *Supervisor) live(ctx context.Context) error {
	cmd := s.command()
	conn, err := start(cmd)
	if err != nil {
		return err
	}
	var died error
	ended := make(chan struct{})
	go func() {
		died = cmd.Wait()
		close(ended)
	}()
	answers := make(chan answer)
	over := make(chan struct{})
	go func() {
		defer close(answers)
		for d := json.NewDecoder(conn); ; {
			var a answer
			if d.Decode(&a) != nil {
				return
			}
			select {
			case answers <- a:
			case <-over:
				return
			}
		}
	}()
	waiting := map[int]chan<- error{}
	err = s.talk(ctx, conn, answers, waiting)
	close(over)
	conn.Close() // at which the keeper drives all to rest, and ends
	late := time.NewTimer(stopTime)
	defer late.Stop()
	select {
	case <-ended:
	case <-late.C:
		err = errors.Join(err, fmt.Errorf("it did not end by itself within %s", stopTime))
		cmd.Process.Kill()
		<-ended
	}
	for range answers { // until its reader has ended
	}
	for _, done := range waiting {
		done <- errAway
	}
	return errors.Join(err, died)
}

// start starts the keeper, in a process group of its own: what is sent to that of ours, as by Ctrl-C, is for us.
func start(cmd *exec.Cmd) (net.Conn, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket pair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "keeper"), os.NewFile(uintptr(fds[1]), "keeper")
	defer ours.Close() // the connection has a copy
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, err
	}
	cmd.ExtraFiles = []*os.File{theirs} // FD
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// talk asks the keeper for what is asked of us, until one of both has ended or does not answer.
func (s *Supervisor) talk(ctx context.Context, conn net.Conn, answers <-chan answer, waiting map[int]chan<- error) error {
	say := json.NewEncoder(conn)
	id, limit := 0, firstTime
	patience := time.NewTimer(firstTime)
	defer patience.Stop()
	send := func(o order) error {
		id++
		o.ID = id
		waiting[id] = o.done
		patience.Reset(limit)
		conn.SetWriteDeadline(time.Now().Add(answerTime))
		return say.Encode(o.request)
	}
	ready := make(chan error, 1)
	var over time.Time // when the last pulse should be
	overdue := time.NewTimer(time.Hour)
	overdue.Stop()
	defer overdue.Stop()
	if err := send(order{request{Relays: s.relays}, ready}); err != nil {
		return err
	}
	for asked := (<-chan order)(nil); ; {
		select {
		case <-ctx.Done():
			return nil
		case err := <-ready:
			if err != nil {
				return err
			}
			asked, limit = s.asked, answerTime
		case o := <-asked:
			if err := send(o); err != nil {
				return err
			}
			if end := time.Now().Add(o.For); end.After(over) {
				over = end
				overdue.Reset(o.For + pauseFirst)
			}
		case <-overdue.C: // one that hangs in mid-pulse must not be left alone
			if err := send(order{done: make(chan error, 1)}); err != nil {
				return err
			}
		case a, ok := <-answers:
			if !ok {
				return errors.New("it is gone")
			}
			var err error
			if a.Error != "" {
				err = errors.New(a.Error)
			}
			if done := waiting[a.ID]; done != nil {
				delete(waiting, a.ID)
				done <- err
			}
		case <-patience.C:
			if len(waiting) > 0 {
				return errors.New("it does not answer")
			}
		}
	}
}
