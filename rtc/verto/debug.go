package verto

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Types of debug frames, which carry a call's statistics to the platform's support.
const (
	DebugStart = "debug_report_start"
	DebugData  = "debug_report_data"
	DebugStop  = "debug_report_stop"
)

const debugVersion = 1

// Debug sends a debug frame: DebugStart, then DebugData as often as there is something, then DebugStop, all under one
// reportID (a UUID of the caller's). data is only for DebugData. It waits for the result that the platform owes; a
// platform that gives none (ErrNoAnswer) or an error keeps no debug reports, and the call goes on without.
func (c *Client) Debug(ctx context.Context, kind, reportID, callID string, data any) error {
	id, _ := json.Marshal(uuid.NewString()) // of a string: cannot fail
	f := &Frame{
		JSONRPC: Version, ID: id, Type: kind,
		DebugReportID: reportID, DebugReportVersion: debugVersion, CallID: callID,
	}
	var err error
	if data != nil {
		if f.DebugReportData, err = json.Marshal(data); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	_, err = wait(ctx, c, func(l *line, reply func(struct{}, error)) {
		if l.status.State != Registered {
			reply(struct{}{}, l.notRegistered())
			return
		}
		err := l.ask(f, pending{purpose: forCaller, deadline: time.Now().Add(requestTimeout), answer: func(f *Frame, err error) {
			if err == nil && f.Error != nil {
				err = f.Error
			}
			reply(struct{}{}, err)
		}})
		if err != nil {
			reply(struct{}{}, err)
		}
	})
	if err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	return nil
}
