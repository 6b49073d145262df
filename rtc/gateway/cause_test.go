package gateway

import (
	"fmt"
	"testing"
	"time"
)

// Causes are known by their text, else by their number, and those that a client may give are passed on.
func TestCauseOf(t *testing.T) {
	for text, code := range map[string]int{
		"UNALLOCATED_NUMBER": 1, "NO_ROUTE_DESTINATION": 3, "NORMAL_CLEARING": 16, "USER_BUSY": 17, "NO_ANSWER": 19,
		"CALL_REJECTED": 21, "DESTINATION_OUT_OF_ORDER": 27, "NORMAL_TEMPORARY_FAILURE": 41, "INCOMPATIBLE_DESTINATION": 88,
		"INVALID_MSG_UNSPECIFIED": 95, "MANDATORY_IE_MISSING": 96, "RECOVERY_ON_TIMER_EXPIRE": 102, "ORIGINATOR_CANCEL": 487,
		"ALLOTTED_TIMEOUT": 602, "INVALID_GATEWAY": 608, "LOSE_RACE": 702, "USER_NOT_REGISTERED": 806,
	} {
		want := fmt.Sprintf("%s %d", text, code)
		for _, c := range []cause{
			causeOf(text, 0, cause{}), causeOf("", code, cause{}), causeOf(text, 9999, cause{}), causeOf("NO_SUCH_CAUSE", code, cause{}),
		} {
			if got := fmt.Sprintf("%s %d", c.text, c.code); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
	}
	if c := causeOf("USER_BUSY", 16, cause{}); c.code != 17 {
		t.Errorf("the number was believed before the text: %+v", c)
	}
	if c := causeOf("NO_SUCH_CAUSE", 9999, normalClearing); c.text != "NORMAL_CLEARING" || c.code != 16 {
		t.Errorf("a cause that nobody knows is %+v", c)
	}
	// Two of one name differ in what SIP is told.
	for _, c := range []struct {
		cause
		want string
	}{{absentNumber, "UNALLOCATED_NUMBER 1 480"}, {calleeLost, "NORMAL_TEMPORARY_FAILURE 41 480"}} {
		if got := fmt.Sprintf("%s %d %d", c.text, c.code, c.sipCode); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

// FreeSWITCH's times, which tests shorten or wait for at least.
func TestVertoTimes(t *testing.T) {
	if idlePing != 30*time.Second || readyDelay != 100*time.Millisecond || detachTimeout != 2*time.Minute {
		t.Errorf("pings after %v, ready after %v, calls without a client are kept for %v", idlePing, readyDelay, detachTimeout)
	}
}
