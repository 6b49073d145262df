package config

import (
	"testing"
	"time"
)

func TestQuietHours(t *testing.T) {
	for name, test := range map[string]struct {
		quiet       Quiet
		quietAt     []string // of the week that begins on Monday, 2 November 2026
		loudAt      []string
		hoursOfWeek int
	}{
		"none": {Quiet{}, nil, []string{"2 00:00", "4 12:00"}, 0},
		"half": {Quiet{From: "22:00"}, nil, []string{"2 23:00"}, 0},
		"at noon": {
			Quiet{From: "12:00", To: "14:00"},
			[]string{"2 12:00", "8 13:59"},
			[]string{"2 11:59", "2 14:00", "3 00:00"}, 14,
		},
		"over midnight": {
			Quiet{From: "22:00", To: "07:00"},
			[]string{"2 22:00", "3 00:00", "3 06:59"},
			[]string{"2 21:59", "3 07:00"}, 63,
		},
		"weekend nights": {
			Quiet{From: "22:00", To: "07:00", Days: []string{"fri", "sat"}},
			[]string{"6 22:00", "7 03:00", "7 23:00", "8 06:59"},
			[]string{"5 23:00", "6 03:00", "8 07:00", "8 22:00", "9 03:00"}, 18,
		},
		"Sunday to Monday":  {Quiet{From: "23:00", To: "01:00", Days: []string{"sun"}}, []string{"8 23:30", "9 00:30"}, []string{"9 23:30", "8 00:30"}, 2},
		"the whole of one":  {Quiet{From: "00:00", To: "00:00", Days: []string{"sun"}}, []string{"8 00:00", "8 23:59"}, []string{"7 23:59", "9 00:00"}, 24},
		"a day from midday": {Quiet{From: "12:00", To: "12:00", Days: []string{"sat"}}, []string{"7 12:00", "8 11:59"}, []string{"7 11:59", "8 12:00"}, 24},
	} {
		t.Run(name, func(t *testing.T) {
			at := func(s string) time.Time {
				v, err := time.ParseInLocation("2006-01 2 15:04", "2026-11 "+s, time.FixedZone("", 3600))
				if err != nil {
					t.Fatal(err)
				}
				return v
			}
			for _, s := range test.quietAt {
				if !test.quiet.At(at(s)) {
					t.Errorf("%s is not quiet", s)
				}
			}
			for _, s := range test.loudAt {
				if test.quiet.At(at(s)) {
					t.Errorf("%s is quiet", s)
				}
			}
			minutes := 0
			for m := range 7 * 24 * 60 {
				if test.quiet.At(at("2 00:00").Add(time.Duration(m) * time.Minute)) {
					minutes++
				}
			}
			// A week that wraps has as many quiet minutes as any other.
			if minutes != test.hoursOfWeek*60 {
				t.Errorf("%d min of the week are quiet; want %d", minutes, test.hoursOfWeek*60)
			}
		})
	}
}
