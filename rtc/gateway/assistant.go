package gateway

import (
	"encoding/json"

	"sidetone/rtc/verto"

	"github.com/google/uuid"
)

// anonymousName is what all clients of an assistant are called.
func anonymousName(target string) string { return "anonymous:" + target }

// loginAnonymous lets in a client that wants to talk to an assistant and has no credential. Its calls go to that
// assistant, whatever they dial; nobody can call it.
func (s *session) loginAnonymous(f *request) {
	var p struct {
		TargetType string          `json:"target_type"`
		TargetID   string          `json:"target_id"`
		SessID     string          `json:"sessid"`
		UserAgent  json.RawMessage `json:"User-Agent"`
	}
	if err := decode(f.Params, &p); err != nil {
		s.refuse(f, verto.CodeInvalidRequest, textInvalid)
		return
	}
	speaks, known := s.g.cfg.Assistants[p.TargetID]
	if !known || p.TargetType != "ai_assistant" {
		s.log.Info("anonymous login refused", "target_type", p.TargetType, "target_id", p.TargetID)
		s.refuse(f, verto.CodeAuthenticationFailed, textAuthFailure)
		return
	}
	s.enter(f, Identity{Name: anonymousName(p.TargetID)}, verto.LoginParams{SessID: p.SessID, UserAgent: p.UserAgent}, speaks)
}

// message is an item of a conversation with an assistant: one that says something, or what a tool gave.
type message struct {
	ID      string        `json:"id,omitempty"`
	Type    string        `json:"type"`
	Role    string        `json:"role,omitempty"`
	Content []messagePart `json:"content,omitempty"`
	CallID  string        `json:"call_id,omitempty"` // of the tool call
	Output  string        `json:"output,omitempty"`
}

type messagePart struct {
	Type string `json:"type"`
	Text string `json:"text,omitempty"`
}

// converse answers what a client writes to its assistant with the same words, and what a tool gave with that. What has
// no id wants no result, and what says nothing no answer.
func (s *session) converse(f *request) {
	s.reply(f, verto.CallResult{SessID: s.sessid})
	var p struct {
		Type string  `json:"type"`
		Item message `json:"item"`
	}
	if err := decode(f.Params, &p); err != nil || p.Type != "conversation.item.create" {
		return
	}
	if p.Item.Type == "function_call_output" && p.Item.CallID != "" {
		p.Item.Content = []messagePart{{Type: "text", Text: p.Item.CallID + " gave " + p.Item.Output}}
	}
	answer := p
	answer.Type = "conversation.item.created"
	answer.Item = message{ID: uuid.NewString(), Type: "message", Role: "assistant"}
	for _, part := range p.Item.Content {
		if part.Text != "" {
			answer.Item.Content = append(answer.Item.Content, messagePart{Type: "text", Text: part.Text})
		}
	}
	if len(answer.Item.Content) > 0 {
		s.request(verto.AIConversation, answer)
	}
}
