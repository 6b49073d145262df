package control

import (
	"fmt"
	"time"
)

// Update is how far new firmware has come. Its first names are those that Home Assistant has for an update.
type Update struct {
	InstalledVersion string `json:"installed_version"`
	LatestVersion    string `json:"latest_version"` // that we know of
	Title            string `json:"title"`
	ReleaseSummary   string `json:"release_summary,omitempty"`
	ReleaseURL       string `json:"release_url,omitempty"`
	InProgress       bool   `json:"in_progress"`
	UpdatePercentage *int   `json:"update_percentage"` // of the download; nil while nothing is in progress

	Phase         string    `json:"phase"`               // of ota, or UpdatesOff
	Reason        string    `json:"reason,omitempty"`    // why it waits, or what became of the last one
	NotAgain      bool      `json:"not_again,omitempty"` // the latest version has failed here
	Forced        bool      `json:"forced,omitempty"`    // somebody wants it now
	DeferredUntil time.Time `json:"deferred_until,omitzero"`
	LastCheck     time.Time `json:"last_check,omitzero"` // since the start
}

// UpdatesOff is the phase of a device that cannot be updated, and Reason says why.
const UpdatesOff = "off"

// String puts it into a line.
func (u Update) String() string {
	s := u.InstalledVersion + ", " + u.Phase
	if u.LatestVersion != u.InstalledVersion {
		s += " " + u.LatestVersion
	}
	if u.UpdatePercentage != nil {
		s += fmt.Sprintf(", %d %%", *u.UpdatePercentage)
	}
	if u.Reason != "" {
		s += ": " + u.Reason
	}
	return s
}

// UpdateAct is something that can be done about updates; update-ACT is the command.
type UpdateAct string

// What can be done.
const (
	UpdateCheck  UpdateAct = "check"  // look for news now
	UpdateForce  UpdateAct = "force"  // look, load and restart now, but not in a call
	UpdateDefer  UpdateAct = "defer"  // no restart before a time
	UpdateCancel UpdateAct = "cancel" // give it up; on trial, the old system comes back
)
