// Package verto speaks Verto-style JSON-RPC 2.0 over a WebSocket, as Telnyx (telnyx_rtc.*) and FreeSWITCH's mod_verto
// (verto.*) use it: the frames, their parameters, and the client that keeps one line registered.
package verto

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Version of JSON-RPC that every frame names.
const Version = "2.0"

// MaxFrame is the largest frame either side reads, in bytes: an SDP with many candidates is below 20 KB.
const MaxFrame = 256 << 10

// JSON-RPC and Verto error codes (mod_verto.h; Telnyx uses the same).
const (
	CodeParse                  = -32700
	CodeInvalidRequest         = -32600
	CodeMethodNotFound         = -32601
	CodePermissionDenied       = -32602
	CodeAuthenticationRequired = -32000
	CodeAuthenticationFailed   = -32001
	CodeSessionError           = -32002
	CodeGatewayTimeout         = -32003
	CodeGatewayDown            = -32004
)

// Frame is one message in either direction: a request (Method), a result (Result) or an error (Error).
// ID is kept as raw JSON, because clients use strings and servers integers.
type Frame struct {
	JSONRPC    string          `json:"jsonrpc"`
	ID         json.RawMessage `json:"id,omitempty"`
	Method     string          `json:"method,omitempty"`
	Params     json.RawMessage `json:"params,omitempty"`
	Result     json.RawMessage `json:"result,omitempty"`
	Error      *Error          `json:"error,omitempty"`
	Type       string          `json:"type,omitempty"` // debug_report_* frames have a type and no method
	VoiceSDKID string          `json:"voice_sdk_id,omitempty"`
	// Of debug_report_* frames only.
	DebugReportID      string          `json:"debug_report_id,omitempty"`
	DebugReportVersion int             `json:"debug_report_version,omitempty"`
	DebugReportData    json.RawMessage `json:"debug_report_data,omitempty"`
	CallID             string          `json:"call_id,omitempty"`
}

// Error is a JSON-RPC error object. Params is where some servers put a gateway state; Cause and CauseCode are given by
// FreeSWITCH when a call could not be made.
type Error struct {
	Code      int             `json:"code"`
	Message   string          `json:"message"`
	Params    json.RawMessage `json:"params,omitempty"`
	Cause     string          `json:"cause,omitempty"`
	CauseCode int             `json:"causeCode,omitempty"`
}

func (e *Error) Error() string { return fmt.Sprintf("%s (%d)", e.Message, e.Code) }

// IsRequest tells a request or notification from an answer.
func (f *Frame) IsRequest() bool { return f.Method != "" }

// IsResponse tells an answer to one of our requests.
func (f *Frame) IsResponse() bool {
	return f.Method == "" && len(f.ID) > 0 && (f.Result != nil || f.Error != nil)
}

// Parse reads one text frame. Whatever is not a JSON object of the right shape is an error; unknown fields are not.
func Parse(b []byte) (*Frame, error) {
	if len(b) > MaxFrame {
		return nil, fmt.Errorf("frame of %d bytes is larger than %d", len(b), MaxFrame)
	}
	b = bytes.TrimSpace(b)
	if len(b) == 0 || b[0] != '{' {
		return nil, errors.New("frame is not a JSON object")
	}
	var f Frame
	if err := json.Unmarshal(b, &f); err != nil {
		// An error object with a field of another type is an error all the same, and somebody waits for it. What is
		// said of debug reports matters to nobody here.
		var mismatch *json.UnmarshalTypeError
		if !errors.As(err, &mismatch) || !strings.HasPrefix(mismatch.Field, "error.") &&
			!strings.HasPrefix(mismatch.Field, "debug_report_") && mismatch.Field != "call_id" {
			return nil, fmt.Errorf("frame is not JSON-RPC: %w", err)
		}
	}
	if bytes.Equal(f.ID, []byte("null")) {
		f.ID = nil
	}
	if f.Method == "" && f.Result == nil && f.Error == nil && f.Type == "" {
		return nil, errors.New("frame has no method, result, error or type")
	}
	return &f, nil
}

// MaxBatch is how many frames one text message may hold: each may be a call.
const MaxBatch = 32

// ParseAll reads one text message: a frame, or a JSON array of frames, as FreeSWITCH takes and sends them. Frames of an
// array that cannot be read are left out, and the error tells of the first of them; the others count.
func ParseAll(b []byte) ([]*Frame, error) {
	b = bytes.TrimSpace(b)
	if len(b) == 0 || b[0] != '[' {
		f, err := Parse(b)
		if err != nil {
			return nil, err
		}
		return []*Frame{f}, nil
	}
	if len(b) > MaxFrame {
		return nil, fmt.Errorf("batch of %d bytes is larger than %d", len(b), MaxFrame)
	}
	var batch []json.RawMessage
	if err := json.Unmarshal(b, &batch); err != nil {
		return nil, fmt.Errorf("batch is not JSON: %w", err)
	}
	if len(batch) > MaxBatch {
		return nil, fmt.Errorf("batch of %d frames: at most %d are taken", len(batch), MaxBatch)
	}
	var frames []*Frame
	var first error
	for _, one := range batch {
		f, err := Parse(one)
		if err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		frames = append(frames, f)
	}
	return frames, first
}

// Request builds a request. id may be a string or an integer; nil makes a notification.
func Request(id any, method string, params any) (*Frame, error) {
	f := &Frame{JSONRPC: Version, Method: method}
	var err error
	if id != nil {
		if f.ID, err = json.Marshal(id); err != nil {
			return nil, fmt.Errorf("id of %s: %w", method, err)
		}
	}
	if f.Params, err = json.Marshal(params); err != nil {
		return nil, fmt.Errorf("params of %s: %w", method, err)
	}
	return f, nil
}

// Reply builds the result that answers req.
func Reply(req *Frame, result any) (*Frame, error) {
	b, err := json.Marshal(result)
	if err != nil {
		return nil, fmt.Errorf("result of %s: %w", req.Method, err)
	}
	return &Frame{JSONRPC: Version, ID: req.ID, Result: b}, nil
}

// Refuse builds the error that answers req.
func Refuse(req *Frame, code int, message string) *Frame {
	return &Frame{JSONRPC: Version, ID: req.ID, Error: &Error{Code: code, Message: message}}
}
