package verto

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// itemCreate is the type of what we say to an assistant.
const itemCreate = "conversation.item.create"

// AIMessage is what an AI assistant and we say to one another beside the sound: the params of ai_conversation.
type AIMessage struct {
	Type           string          `json:"type"`
	PreviousItemID *string         `json:"previous_item_id"` // null: after the newest
	Item           json.RawMessage `json:"item,omitempty"`
	// Params are all of an incoming message, of whatever type.
	Params json.RawMessage `json:"-"`
}

type aiText struct {
	ID      string      `json:"id"`
	Type    string      `json:"type"`
	Role    string      `json:"role"`
	Content []aiContent `json:"content"`
}

type aiContent struct {
	Type  string   `json:"type"`
	Text  string   `json:"text,omitempty"`
	Image *aiImage `json:"image_url,omitempty"`
}

type aiImage struct {
	URL string `json:"url"`
}

type aiToolOutput struct {
	Type   string `json:"type"`
	CallID string `json:"call_id"`
	Output string `json:"output"`
}

// Say writes to the AI assistant that the line talks to, with pictures (URLs, also data: URLs) if any. It waits for
// the platform's answer.
func (c *Client) Say(ctx context.Context, text string, images ...string) error {
	content := []aiContent{{Type: "input_text", Text: text}}
	for _, u := range images {
		content = append(content, aiContent{Type: "image_url", Image: &aiImage{URL: u}})
	}
	item := aiText{ID: uuid.NewString(), Type: "message", Role: "user", Content: content}
	_, err := wait(ctx, c, func(l *line, reply func(struct{}, error)) {
		done := func(f *Frame, err error) {
			if err == nil && f.Error != nil {
				err = f.Error
			}
			reply(struct{}{}, err)
		}
		l.converse(item, uuid.NewString(), done)
	})
	if err != nil {
		return fmt.Errorf("message to the assistant: %w", err)
	}
	return nil
}

// ToolResult gives the AI assistant the output of a tool it asked for by callID. It has no answer.
func (c *Client) ToolResult(ctx context.Context, callID, output string) error {
	item := aiToolOutput{Type: "function_call_output", CallID: callID, Output: output}
	_, err := wait(ctx, c, func(l *line, reply func(struct{}, error)) {
		l.converse(item, nil, func(_ *Frame, err error) { reply(struct{}{}, err) })
	})
	if err != nil {
		return fmt.Errorf("tool result to the assistant: %w", err)
	}
	return nil
}

// converse sends an item. Without an id it is a notification, done once it is sent.
func (l *line) converse(item any, id any, done func(*Frame, error)) {
	if l.status.State != Registered {
		done(nil, l.notRegistered())
		return
	}
	raw, err := json.Marshal(item)
	if err != nil {
		done(nil, err)
		return
	}
	f, err := Request(id, AIConversation, AIMessage{Type: itemCreate, Item: raw})
	switch {
	case err != nil:
	case id == nil:
		err = l.send(f)
	default:
		err = l.ask(f, pending{purpose: forCaller, deadline: time.Now().Add(forgetTimeout), answer: done})
		if err == nil {
			return
		}
	}
	done(nil, err)
}

// conversation passes on what an assistant says.
func (l *line) conversation(f *Frame) {
	var m AIMessage
	_ = json.Unmarshal(f.Params, &m) // its other shapes are in Params
	m.Params = f.Params
	l.tell(Event{Method: AIConversation, AI: &m})
}
