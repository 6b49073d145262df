package appliance

import (
	"encoding/json"
	"net/url"
	"path/filepath"
	"time"

	"sidetone/provisioning/config"
	"sidetone/rtc/quality"
)

// Bounds of one report, in bytes of JSON.
const (
	maxUpload = 1_900_000 // the platform takes 2 MB
	maxKept   = maxUpload
	maxFleet  = 128 << 10 // a broker's message; half of what the agent's spool takes
)

// keepReports makes what keeps and sends reports, below the state directory.
func (a *Appliance) keepReports() {
	dir := func(name string) string { return filepath.Join(a.cfg.Device.StateDir, name) }
	a.reports = reportFiles{dir: dir("reports")}
	a.outbox = newOutbox(dir("outbox"), a.line, a.opt.Solo, a.opt.Logger)
	a.debug = &debugOutput{kind: a.cfg.Report.Debug, dir: dir("debug"), line: a.line, log: a.opt.Logger}
}

// report sends a call's report where it belongs: to a file, the fleet and the platform.
func (a *Appliance) report(callID string, whole, last *quality.Report) {
	body, err := whole.Fit(maxKept)
	if err == nil {
		err = a.reports.write(callID, body)
	}
	if err != nil {
		a.log.Error("call report is not kept on disk", "call_id", callID, "err", err)
	}
	if a.fleet != nil {
		body, err := whole.Fit(maxFleet)
		if err == nil {
			err = a.fleet.CallReport(callID, json.RawMessage(body))
		}
		if err != nil {
			a.log.Error("call report does not go to the broker", "call_id", callID, "err", err)
		}
	}
	a.upload(callID, last)
}

// upload leaves a report, or a part of one, to the outbox. A FreeSWITCH takes none.
func (a *Appliance) upload(callID string, r *quality.Report) {
	if !a.dialect().HasGatewayState {
		return
	}
	if err := a.outbox.put(callID, r); err != nil {
		a.log.Error("call report does not go to the platform", "call_id", callID, "err", err)
	}
}

// liveStats is what up/stats/live says.
type liveStats struct {
	CallID string `json:"call_id"`
	*quality.Frame
}

// clientSummary is what a report's summary says of the device's set-up. Nothing of it is secret.
type clientSummary struct {
	Authentication struct {
		Method string `json:"method"` // the key of section line that the login comes from, or anonymous
	} `json:"authentication"`
	Connection struct {
		Host    string `json:"host"`
		Dialect string `json:"dialect"`
		Region  string `json:"region,omitempty"`
	} `json:"connection"`
	Media struct {
		ICEPolicy string   `json:"icePolicy"`
		Trickle   bool     `json:"trickle"`
		Prefetch  bool     `json:"prefetch"`
		Codecs    []string `json:"codecs"`
		Bitrate   int      `json:"bitrate"` // bit/s, of Opus
		FEC       bool     `json:"fec"`
	} `json:"media"`
	CallReports struct {
		Interval      int64  `json:"interval"`      // ms
		FlushInterval int64  `json:"flushInterval"` // ms
		Debug         string `json:"debug"`
	} `json:"callReports"`
}

func summarize(c *config.Config) clientSummary {
	var s clientSummary
	switch l := c.Line; {
	case c.Assistant.TargetID != "":
		s.Authentication.Method = "anonymous"
	case l.TokenFile != "":
		s.Authentication.Method = "token_file"
	case len(l.TokenCommand) > 0:
		s.Authentication.Method = "token_command"
	case l.TokenURL != "":
		s.Authentication.Method = "token_url"
	default:
		s.Authentication.Method = "login"
	}
	if u, err := url.Parse(c.Line.URL); err == nil {
		s.Connection.Host = u.Host
	}
	s.Connection.Dialect, s.Connection.Region = c.Line.Dialect, c.Line.Region
	s.Media.ICEPolicy, s.Media.Trickle, s.Media.Prefetch = c.ICE.Policy, c.ICE.Trickle, c.ICE.Prefetch
	s.Media.Codecs, s.Media.Bitrate, s.Media.FEC = c.Audio.Codecs, c.Audio.Bitrate, c.Audio.FEC
	s.CallReports.Interval = time.Duration(c.Report.Interval).Milliseconds()
	s.CallReports.FlushInterval = time.Duration(c.Report.FlushInterval).Milliseconds()
	s.CallReports.Debug = c.Report.Debug
	return s
}
