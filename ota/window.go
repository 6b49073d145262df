package ota

import (
	"fmt"
	"time"
)

// Window is the part of a day in which an appliance may go away for a minute. The zero Window is the whole day.
type Window struct{ From, To time.Duration } // since midnight; To may be before From

// ParseWindow reads "02:00-04:30". The empty text is the whole day.
func ParseWindow(text string) (Window, error) {
	if text == "" {
		return Window{}, nil
	}
	var fh, fm, th, tm int
	if n, err := fmt.Sscanf(text, "%d:%d-%d:%d", &fh, &fm, &th, &tm); n != 4 || err != nil || text != fmt.Sprintf("%02d:%02d-%02d:%02d", fh, fm, th, tm) ||
		fh > 23 || th > 23 || fm > 59 || tm > 59 || fh < 0 || th < 0 || fm < 0 || tm < 0 {
		return Window{}, fmt.Errorf("%q is no part of a day, write it as 02:00-04:30", text)
	}
	at := func(h, m int) time.Duration { return time.Duration(h)*time.Hour + time.Duration(m)*time.Minute }
	return Window{at(fh, fm), at(th, tm)}, nil
}

// Open says whether t lies in the window, by t's own location.
func (w Window) Open(t time.Time) bool {
	if w.From == w.To {
		return true
	}
	h, m, s := t.Clock()
	at := time.Duration(h)*time.Hour + time.Duration(m)*time.Minute + time.Duration(s)*time.Second
	if w.From < w.To {
		return at >= w.From && at < w.To
	}
	return at >= w.From || at < w.To
}
