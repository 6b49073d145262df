package call

import (
	"context"
	"fmt"
	"strings"
	"time"
)

const dtmfDigits = "0123456789ABCD*#"

// pauses between digits, as Telnyx's call control has them (w, W), and as people write them into phone books.
var pauses = map[rune]time.Duration{
	'w': 500 * time.Millisecond, ',': 500 * time.Millisecond, 'W': time.Second, 'p': time.Second, 'P': time.Second,
}

const (
	maxKeys = 64
	// keyTime is how long one digit takes by RFC 4733: tone and gap. What follows a digit comes after it.
	keyTime = 140 * time.Millisecond
)

// key is a row of digits, or a pause.
type key struct {
	digits string
	pause  time.Duration
}

// parseKeys reads digits with pauses.
func parseKeys(s string) ([]key, error) {
	var keys []key
	if s == "" || len(s) > maxKeys {
		return nil, badKeys(s)
	}
	for _, r := range s {
		last := len(keys) - 1
		if d, ok := pauses[r]; ok {
			keys = append(keys, key{pause: d})
			continue
		}
		digit := strings.ToUpper(string(r))
		switch {
		case !strings.Contains(dtmfDigits, digit):
			return nil, badKeys(s)
		case last >= 0 && keys[last].digits != "":
			keys[last].digits += digit
		default:
			keys = append(keys, key{digits: digit})
		}
	}
	return keys, nil
}

func badKeys(s string) error {
	return fmt.Errorf("%q are no DTMF digits: 1 to %d of 0-9, A-D, * and #, with pauses w or comma (0.5 s) and W or p (1 s)", s, maxKeys)
}

// sendDigits sends digits one row after the other; sent may be nil.
func (m *Manager) sendDigits(c *live, digits string, sent chan<- error) {
	keys, err := parseKeys(digits)
	if c.keys == nil {
		c.keys = startWorker(&m.workers)
	}
	info, s := c.info, c.media
	c.keys.do(func() {
		for _, k := range keys {
			switch {
			case err != nil:
			case k.pause > 0:
				err = c.sleep(k.pause)
			case m.cfg.DTMF == DTMFRTP:
				err = m.sendByRTP(c, s, info, k.digits)
			default:
				err = m.sendByInfo(c, info, k.digits)
			}
		}
		if err != nil {
			err = fmt.Errorf("the digits were not sent: %w", err)
		}
		if sent != nil {
			sent <- err
		}
	})
}

func (c *live) sleep(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-c.ctx.Done():
		return errEnded
	}
}

// in has a worker do a job of the call, and waits for it.
func (c *live) in(w *worker, job func() error) error {
	done := make(chan error, 1)
	w.do(func() { done <- job() })
	select {
	case err := <-done:
		return err
	case <-c.ctx.Done():
		return errEnded
	}
}

func (m *Manager) sendByInfo(c *live, info Info, digits string) error {
	return c.in(c.line, func() error {
		ctx, cancel := context.WithTimeout(c.ctx, requestTimeout)
		defer cancel()
		return m.cfg.Line.DTMF(ctx, info, digits)
	})
}

func (m *Manager) sendByRTP(c *live, s *session, info Info, digits string) error {
	err := c.in(s.worker, func() error {
		if s.media == nil {
			return errEnded
		}
		return s.media.SendDTMF(digits)
	})
	if err != nil && c.ctx.Err() == nil {
		m.log.Info("the far side takes no digits in its sound; they go by signalling", "call_id", info.ID, "err", err)
		return m.sendByInfo(c, info, digits)
	}
	if err != nil {
		return err
	}
	return c.sleep(time.Duration(len(digits)) * keyTime)
}
