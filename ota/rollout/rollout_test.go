package rollout

import (
	"strings"
	"testing"
	"time"

	"sidetone/ota"
	"sidetone/ota/bundle"
)

var plan = Plan{Shares: []float64{0.01, 0.1, 1}, FailureRate: 0.03, Reports: 50, Stage: 24 * time.Hour, Silence: time.Hour}

func TestDecide(t *testing.T) {
	for _, tt := range []struct {
		name  string
		share float64
		since time.Duration
		count Count
		act   Act
		next  float64
		why   string
	}{
		{"nobody has ended", 0.01, 2 * day, Count{UnderWay: 40, Waiting: 60}, Wait, 0.01, "0 of 50 reports"},
		{"too few reports", 0.01, 2 * day, Count{Succeeded: 49, Waiting: 51}, Wait, 0.01, "49 of 50 reports"},
		{"too early", 0.01, day - time.Minute, Count{Succeeded: 90}, Wait, 0.01, "1m0s more"},
		{"well", 0.01, day, Count{Succeeded: 90, Failed: 2}, Raise, 0.1, "2 of 92"},
		{"from the beginning", 0, day, Count{}, Raise, 0.01, ""},
		{"shares in between", 0.05, day, Count{Succeeded: 90}, Raise, 0.1, ""},
		{"the last one", 1, day, Count{Succeeded: 9000, Failed: 200, Waiting: 800}, Done, 1, "200 of 9200"},
		{"the last one, unfinished", 1, day - 1, Count{Succeeded: 9000}, Wait, 1, ""},
		{"a few of few", 0.01, time.Minute, Count{Succeeded: 1, Failed: 1}, Wait, 0.01, "2 of 2 reports"},
		{"enough of few: the others cannot mend it", 0.01, time.Minute, Count{Failed: 2}, Stop, 0, "2 of 50 updates failed (2 ended)"},
		{"at the rate", 0.1, time.Minute, Count{Succeeded: 97, Failed: 3}, Stop, 0, "3 of 100"},
		{"below the rate", 0.1, time.Minute, Count{Succeeded: 98, Failed: 2}, Wait, 0.1, ""},
		{"devices that fell silent", 0.1, time.Minute, Count{Succeeded: 97, Failed: 1, Lost: 2}, Stop, 0, "3 of 100"},
		{"a small fleet: all have ended", 0.1, day, Count{Succeeded: 7}, Raise, 1, ""},
		{"a small fleet: one has not", 0.1, day, Count{Succeeded: 6, UnderWay: 1}, Wait, 0.1, "6 of 7 reports"},
	} {
		p := plan
		if tt.name == "a few of few" {
			p.FailureRate = 0.05
			tt.why = "lasts"
		}
		if d := p.Decide(tt.share, tt.since, tt.count); d.Act != tt.act || d.Share != tt.next || !strings.Contains(d.Reason, tt.why) {
			t.Errorf("%s: %+v", tt.name, d)
		}
	}
}

func TestPlanCheck(t *testing.T) {
	if err := plan.Check(); err != nil {
		t.Error(err)
	}
	for _, spoil := range []func(*Plan){
		func(p *Plan) { p.Shares = nil },
		func(p *Plan) { p.Shares = []float64{0.1, 0.1} },
		func(p *Plan) { p.Shares = []float64{0.1, 2} },
		func(p *Plan) { p.FailureRate = 0 },
		func(p *Plan) { p.Reports = 0 },
		func(p *Plan) { p.Silence = 0 },
	} {
		p := plan
		spoil(&p)
		if p.Check() == nil {
			t.Errorf("%+v", p)
		}
	}
}

func TestFleet(t *testing.T) {
	now := time.Now()
	f := NewFleet(bundle.Targets{Board: "rpi4", Release: "v2.0.0"})
	hear := func(name, board string, r Report) {
		f.Online(name, true)
		f.Board(name, board)
		f.Report(name, r, now)
	}
	for name, r := range map[string]Report{
		"idle":     {"v1.0.0", "v1.0.0", ota.Idle, false},
		"fetching": {"v1.0.0", "v2.0.0", ota.Downloading, false},
		"waiting":  {"v1.0.0", "v2.0.0", ota.Waiting, false},
		"trial":    {"v2.0.0", "v2.0.0", ota.Probation, false},
		"done":     {"v2.0.0", "v2.0.0", ota.Committed, false},
		"later":    {"v2.0.0", "v2.0.0", ota.Idle, false},
		"reverts":  {"v2.0.0", "v2.0.0", ota.RolledBack, true},
		"failed":   {"v1.0.0", "v2.0.0", ota.Failed, true},
		"asked":    {"v1.0.0", "v2.0.0", ota.Idle, true},
		"before":   {"v1.0.0", "v1.1.0", ota.RolledBack, true},
		"offline":  {"v1.0.0", "v1.0.0", ota.Idle, false},
	} {
		hear(name, "rpi4", r)
	}
	f.Online("offline", false)
	hear("other", "rpi3", Report{"v2.0.0", "v2.0.0", ota.Committed, false})
	f.Report("nobody", Report{"v2.0.0", "v2.0.0", ota.Failed, false}, now) // of what board it is was not heard
	if c := f.Count(1, now, time.Hour); c != (Count{Succeeded: 2, Failed: 3, UnderWay: 3, Waiting: 2}) {
		t.Errorf("%+v", c)
	}
	if c := f.Count(0, now.Add(time.Hour), time.Hour); c != (Count{Succeeded: 2, Failed: 3, UnderWay: 2, Lost: 1}) {
		t.Errorf("an hour later, withdrawn: %+v", c)
	}
	// What failed stays so, whatever it tells when it looks for news again.
	hear("failed", "rpi4", Report{"v1.0.0", "v2.0.0", ota.Checking, false})
	if c := f.Count(1, now, time.Hour); c.Failed != 3 {
		t.Errorf("%+v", c)
	}
}

// FuzzHear has two devices of a fleet say anything: each counts once at most, and what has failed on one stays so.
func FuzzHear(f *testing.F) {
	f.Add("up/birth", []byte(`{"board":"rpi4"}`), "up/state/update", []byte(`{"installed_version":"v2.0.0","latest_version":"v2.0.0","phase":"committed"}`))
	f.Add("up/status", []byte("online"), "up/state/update", []byte(`{"installed_version":"v1.0.0","latest_version":"v2.0.0","phase":"rolled back","not_again":true}`))
	f.Add("up/status", []byte("offline"), "up/birth", []byte(`{"board":7}`))
	f.Fuzz(func(t *testing.T, one string, first []byte, other string, second []byte) {
		now := time.Now()
		fleet := NewFleet(bundle.Targets{Board: "rpi4", Release: "v2.0.0"})
		count := func() Count { return fleet.Count(1, now, time.Hour) }
		for _, name := range []string{"door1", "door2"} {
			fleet.Hear(name, "up/birth", []byte(`{"board":"rpi4"}`), now)
			fleet.Hear(name, one, first, now)
			fleet.Hear(name, other, second, now)
		}
		before := count()
		if n := before.Succeeded + before.Failed + before.Lost + before.UnderWay + before.Waiting; n > 2 {
			t.Errorf("two devices are %+v", before)
		}
		for _, phase := range []string{"idle", "committed", "downloading"} {
			fleet.Hear("door1", "up/state/update", []byte(`{"installed_version":"v1.0.0","latest_version":"v2.0.0","phase":"`+phase+`"}`), now)
			if after := count(); after.Failed != before.Failed {
				t.Errorf("%+v, and then %s: %+v", before, phase, after)
			}
		}
	})
}
