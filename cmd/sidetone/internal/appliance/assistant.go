package appliance

import (
	"context"
	"encoding/json"
	"errors"

	"sidetone/cmd/sidetone/internal/control"
	"sidetone/rtc/verto"
)

var errNoAssistant = errors.New("the line is not logged in to an assistant; set assistant.target_id")

// Say implements control.Device.
func (a *Appliance) Say(ctx context.Context, text string, images []string) error {
	switch {
	case a.cfg.Assistant.TargetID == "":
		return errNoAssistant
	case text == "" && len(images) == 0:
		return errors.New("there is nothing to say")
	}
	return a.line.Say(ctx, text, images...)
}

// ToolResult implements control.Device.
func (a *Appliance) ToolResult(ctx context.Context, toolCallID, output string) error {
	switch {
	case a.cfg.Assistant.TargetID == "":
		return errNoAssistant
	case toolCallID == "":
		return errors.New("a tool result needs the call_id of the tool call that it answers")
	}
	return a.line.ToolResult(ctx, toolCallID, output)
}

// assistantSays hands on what the assistant writes, and the tools that it asks for.
func (a *Appliance) assistantSays(m *verto.AIMessage) {
	a.watchers.tell(control.Event{Event: "assistant", Assistant: m.Params})
	if a.fleet != nil {
		a.fleet.Event("assistant", struct {
			Message json.RawMessage `json:"message"`
		}{m.Params})
	}
}
