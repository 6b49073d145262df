package update

import (
	"cmp"
	"strings"
	"sync"
	"time"

	"sidetone/cmd/sidetone/internal/control"
	"sidetone/ota"

	"golang.org/x/mod/semver"
)

// status makes of the machine's state what people read.
type status struct {
	version string // that runs
	tell    func(control.Update)

	mu  sync.Mutex
	u   control.Update
	ran bool
}

func (s *status) now() control.Update {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.u
}

// change tells of what a change has made different.
func (s *status) change(do func(*control.Update)) {
	s.mu.Lock()
	before := s.u
	do(&s.u)
	s.u.InstalledVersion, s.u.Title = s.version, "Sidetone"
	s.u.LatestVersion = cmp.Or(s.u.LatestVersion, s.version)
	after, first := s.u, !s.ran
	s.ran = true
	s.mu.Unlock()
	if first || !same(before, after) {
		s.tell(after)
	}
}

func same(a, b control.Update) bool {
	p, q := a.UpdatePercentage, b.UpdatePercentage
	a.UpdatePercentage, b.UpdatePercentage = nil, nil
	return a == b && (p == nil) == (q == nil) && (p == nil || *p == *q)
}

func (s *status) checked(at time.Time) {
	s.change(func(u *control.Update) { u.LastCheck = at.UTC().Truncate(time.Second) })
}

func (s *status) off(err error) {
	s.change(func(u *control.Update) {
		u.Phase, u.Reason = control.UpdatesOff, strings.TrimPrefix(err.Error(), "updates: ")
	})
}

func (s *status) state(st ota.State) {
	s.change(func(u *control.Update) {
		*u = control.Update{
			LastCheck: u.LastCheck, Phase: string(st.Phase), Reason: st.Reason, DeferredUntil: st.Until, Forced: st.Forced,
			InProgress: inProgress(st.Phase),
		}
		// The last release stays the latest while the system is older, whatever became of it.
		if v := st.Release.Version; semver.Compare(v, s.version) > 0 || u.InProgress {
			u.LatestVersion, u.ReleaseSummary, u.ReleaseURL = v, st.Release.Summary, st.Release.URL
		}
		_, u.NotAgain = st.Condemned[u.LatestVersion]
		if u.InProgress {
			percent := st.Percent()
			u.UpdatePercentage = &percent
		}
	})
}

// inProgress says whether something happens that nobody needs to ask for.
func inProgress(p ota.Phase) bool {
	switch p {
	case ota.Downloading, ota.Verifying, ota.Writing, ota.Trying, ota.Probation:
		return true
	}
	return false
}
