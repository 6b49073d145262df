package indicator

import (
	"testing"
	"time"
)

// Each condition wins over all below it, and each has a pattern of its own.
func TestPriority(t *testing.T) {
	order := []struct {
		name string
		set  func(*State)
	}{
		{"provisioning", func(s *State) { s.Provisioning = true }},
		{"no-network", func(s *State) { s.NoNetwork = true }},
		{"refused", func(s *State) { s.Refused = true }},
		{"not-registered", func(s *State) { s.NotRegistered = true }},
		{"updating", func(s *State) { s.Updating = true }},
		{"ringing", func(s *State) { s.Ringing = true }},
		{"talking", func(s *State) { s.Talking = true }},
		{"muted", func(s *State) { s.Muted = true }},
	}
	if got := For(State{}).Name; got != "idle" {
		t.Errorf("a device that is well shows %s", got)
	}
	// Every combination of the conditions shows the most important one.
	for mask := 1; mask < 1<<len(order); mask++ {
		var s State
		want := ""
		for i, o := range order {
			if mask&(1<<i) != 0 {
				o.set(&s)
				if want == "" {
					want = o.name
				}
			}
		}
		if got := For(s).Name; got != want {
			t.Errorf("%+v shows %s, want %s", s, got, want)
		}
		s.Reset = Reset{Held: true, Left: 3 * time.Second}
		if got := For(s).Name; got != "reset-3s" {
			t.Errorf("the count-down is hidden by %s", got)
		}
	}
	type look struct {
		period time.Duration
		duty   int
	}
	names, looks := map[string]bool{}, map[look]string{}
	var all []Pattern
	for _, r := range rules {
		all = append(all, r.Pattern)
	}
	for left := range 6 {
		all = append(all, countDown(time.Duration(left)*time.Second))
	}
	for _, p := range all {
		if names[p.Name] || p.Meaning == "" || rgb[p.Colour] == [3]bool{} || p.Duty < 1 || p.Duty > 100 {
			t.Errorf("pattern %+v", p)
		}
		names[p.Name] = true
		l := look{p.Period, p.Duty}
		if other, taken := looks[l]; taken {
			t.Errorf("without colour %s looks like %s", p.Name, other)
		}
		looks[l] = p.Name
	}
}

func TestLit(t *testing.T) {
	p := Pattern{Period: time.Second, Duty: 25}
	for since, want := range map[time.Duration]bool{
		0: true, 249 * time.Millisecond: true, 250 * time.Millisecond: false, 999 * time.Millisecond: false, time.Second: true,
	} {
		if p.Lit(since) != want {
			t.Errorf("at %v lit is %v", since, !want)
		}
	}
	if !(Pattern{Duty: 100}).Lit(time.Hour) || (Pattern{}).Lit(0) {
		t.Error("steady light is wrong")
	}
}
