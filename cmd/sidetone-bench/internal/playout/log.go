package playout

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Decision is one line of the log: how one piece of sound was made.
type Decision struct {
	At      time.Duration // when it is played, since the first packet was sent
	Kind    string        // decode, fec, conceal, silence (DTX) or wait
	Row     int           // of the schedule, whose sound it is; -1: none's
	Samples int           // that came out
	Stretch int           // by how many of them it became longer, or, negative, shorter
	Waited  time.Duration // since the packet came
	Delay   time.Duration // since the sound would have been there with the fastest packet's delay
	Target  time.Duration // what the buffer wants Delay to be
}

// Log is all decisions of a run.
type Log []Decision

// write writes the log as CSV, in integers, so that it is the same on every machine.
func (l Log) write(w io.Writer) error {
	if _, err := fmt.Fprintln(w, "at_us,decision,seq,samples,stretch,waited_us,delay_us,target_us"); err != nil {
		return err
	}
	for _, d := range l {
		_, err := fmt.Fprintf(w, "%d,%s,%d,%d,%d,%d,%d,%d\n", d.At.Microseconds(), d.Kind, d.Row, d.Samples, d.Stretch,
			d.Waited.Microseconds(), d.Delay.Microseconds(), d.Target.Microseconds())
		if err != nil {
			return err
		}
	}
	return nil
}

// Write writes the log to a file.
func (l Log) Write(path string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b := bufio.NewWriter(f)
	if err := l.write(b); err != nil {
		return err
	}
	return b.Flush()
}

func (l Log) sha256() string {
	h := sha256.New()
	_ = l.write(h) // a hash takes everything
	return hex.EncodeToString(h.Sum(nil))
}
