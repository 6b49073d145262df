package appliance

import (
	"errors"
	"io/fs"

	"sidetone/cmd/sidetone/internal/control"
	"sidetone/rtc/call"
	"sidetone/rtc/quality"
	"sidetone/rtc/verto"
)

// trouble is what is wrong with a call, the line (without a call's id) or the device, in the one shape that the fleet
// hears of it.
type trouble struct {
	CallID string `json:"call_id,omitempty"`
	verto.Condition
}

// publish tells the fleet: as up/event/warning or up/event/error, by its code.
func (a *Appliance) publish(t trouble) {
	if a.fleet == nil || a.opt.Solo && t.CallID == "" { // the device beside a single call tells of its own line
		return
	}
	kind := "warning"
	if t.IsError() {
		kind = "error"
	}
	a.fleet.Event(kind, t)
}

// onCondition tells that something is wrong with the line: once, until it is well again.
func (a *Appliance) onCondition(c verto.Condition) {
	if !c.Cleared {
		message := c.Message
		if c.Detail != "" {
			message += ": " + c.Detail
		}
		a.watchers.tell(control.Event{Event: "warning", Code: c.Code, Name: c.Name, Message: message, Cause: c.Cause, Action: c.Action})
		a.calls.Warn(quality.Warning{Code: c.Code, Name: c.Name, Message: message, Time: c.Since})
	}
	a.publish(trouble{Condition: c})
}

// onWarning tells that something is wrong with a call, and gives the likely reason and what to do.
func (a *Appliance) onWarning(e call.Event) (cause, action string) {
	w := e.Warning
	a.opt.Logger.Warn("call quality", "code", w.Code, "name", w.Name, "message", w.Message, "call_id", e.Call.ID)
	c, _ := quality.Lookup(w.Code)
	a.publish(trouble{e.Call.ID, verto.Condition{Condition: c, Since: w.Time}})
	return c.Cause, c.Action
}

// deviceSkipped tells that the sound device was not changed.
func (a *Appliance) deviceSkipped(why error) {
	c := verto.NewCondition(quality.DeviceChangeSkipped, why.Error())
	a.log.Warn(c.Message, "code", c.Code, "name", c.Name, "err", why)
	a.watchers.tell(control.Event{Event: "warning", Code: c.Code, Name: c.Name, Message: c.Message + ": " + c.Detail, Cause: c.Cause, Action: c.Action})
	a.publish(trouble{Condition: c})
}

// onSound tells that the sound device does not open: once for each reason, until err is nil. It is the sound's to call.
func (a *Appliance) onSound(err error) {
	was := a.noSound
	a.cardGone.Store(err != nil)
	switch {
	case err == nil:
		was.Cleared = true
		a.noSound = verto.Condition{}
		a.publish(trouble{Condition: was})
		return
	case soundCode(err) == was.Code:
		return
	}
	c := verto.NewCondition(soundCode(err), err.Error())
	a.noSound = c
	message := c.Message + ": " + c.Detail
	a.watchers.tell(control.Event{Event: "device_error", Code: c.Code, Name: c.Name, Message: message, Cause: c.Cause, Action: c.Action})
	a.calls.Warn(quality.Warning{Code: c.Code, Name: c.Name, Message: message, Time: c.Since})
	a.publish(trouble{Condition: c})
}

// soundCode is the code of what keeps a sound device from opening.
func soundCode(err error) int {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return quality.DeviceDenied
	case errors.Is(err, fs.ErrNotExist):
		return quality.DeviceNotFound
	}
	return quality.DeviceFailed
}
