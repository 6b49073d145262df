package verto

import (
	"errors"
	"fmt"
	"testing"

	"github.com/coder/websocket"
)

// How a connection ended, by the codes of RFC 6455, section 7.4.1, as call reports name them (closeNames).
func TestCloseNames(t *testing.T) {
	for code, want := range map[int]string{
		1000: "NORMAL_CLOSURE", 1001: "GOING_AWAY", 1002: "PROTOCOL_ERROR", 1003: "UNSUPPORTED_DATA", 1005: "NO_STATUS_RECEIVED",
		1007: "INVALID_PAYLOAD", 1008: "POLICY_VIOLATION", 1009: "MESSAGE_TOO_BIG", 1011: "INTERNAL_ERROR", 4000: "",
	} {
		err := fmt.Errorf("read: %w", websocket.CloseError{Code: websocket.StatusCode(code), Reason: "so it is"})
		if c := socketClose(err, "text"); c.Code != code || c.CodeName != want || c.Reason != "so it is" || !c.WasClean || c.Error != "" {
			t.Errorf("%d: %+v", code, c)
		}
	}
	if len(closeNames) != 9 {
		t.Errorf("%d names, of which 9 are held here", len(closeNames))
	}
	if c := socketClose(errors.New("connection reset"), "text"); c.Code != 1006 || c.CodeName != "ABNORMAL_CLOSURE" || c.WasClean || c.Error != "text" {
		t.Errorf("without a close frame: %+v", c)
	}
}
