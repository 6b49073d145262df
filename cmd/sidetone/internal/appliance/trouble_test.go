package appliance

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"sidetone/rtc/verto"
)

// What is wrong has one shape, whoever has it; the code says what of it is an error.
func TestTroubleShape(t *testing.T) {
	line, call := verto.NewCondition(46001, "the token was withdrawn"), trouble{"call-1", verto.NewCondition(31001, "")}
	for kind, s := range map[bool]trouble{true: {Condition: line}, false: call} {
		b, err := json.Marshal(s)
		if err != nil || s.IsError() != kind {
			t.Errorf("%s: an error: %t, %v", b, s.IsError(), err)
		}
		for _, field := range []string{"code", "name", "message", "cause", "action", "since"} {
			if !strings.Contains(string(b), `"`+field+`":`) {
				t.Errorf("no %s in %s", field, b)
			}
		}
		if got := strings.Contains(string(b), `"call_id":"call-1"`); got != (s.CallID != "") {
			t.Errorf("call_id in %s", b)
		}
	}
	if line.Since.IsZero() || time.Since(line.Since) > time.Minute {
		t.Errorf("since %v", line.Since)
	}
}
