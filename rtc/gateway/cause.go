package gateway

// cause says why a call ended, as in a bye.
type cause struct {
	text      string
	code      int
	sipCode   int
	sipReason string
}

// Causes that the gateway gives: Q.850, and FreeSWITCH's own above 127.
var (
	unknownNumber   = cause{"UNALLOCATED_NUMBER", 1, 404, "Not Found"}
	absentNumber    = cause{"UNALLOCATED_NUMBER", 1, 480, "Temporarily Unavailable"}
	normalClearing  = cause{text: "NORMAL_CLEARING", code: 16}
	userBusy        = cause{"USER_BUSY", 17, 486, "Busy Here"}
	noAnswer        = cause{"NO_ANSWER", 19, 480, "Temporarily Unavailable"}
	callRejected    = cause{"CALL_REJECTED", 21, 603, "Decline"}
	failure         = cause{"NORMAL_TEMPORARY_FAILURE", 41, 503, "Service Unavailable"}
	calleeLost      = cause{"NORMAL_TEMPORARY_FAILURE", 41, 480, "Temporarily Unavailable"}
	incompatible    = cause{"INCOMPATIBLE_DESTINATION", 88, 488, "Not Acceptable Here"}
	recoveryExpired = cause{text: "RECOVERY_ON_TIMER_EXPIRE", code: 102}
	canceled        = cause{"ORIGINATOR_CANCEL", 487, 487, "Request Terminated"}
)

// causes that a client may give.
var causes = []cause{
	unknownNumber, normalClearing, userBusy, noAnswer, callRejected, failure, incompatible,
	{text: "MANDATORY_IE_MISSING", code: 96}, recoveryExpired, canceled,
	noRoute, outOfOrder, unspecified, loseRace, notRegistered, {text: "ALLOTTED_TIMEOUT", code: 602}, {text: "INVALID_GATEWAY", code: 608},
}

// causeOf reads what a client's bye says: the text first, else the code, as FreeSWITCH does; else otherwise.
func causeOf(text string, code int, otherwise cause) cause {
	for _, c := range causes {
		if c.text == text {
			return c
		}
	}
	for _, c := range causes {
		if code != 0 && c.code == code {
			return c
		}
	}
	return otherwise
}
