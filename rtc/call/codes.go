package call

import (
	"time"

	"sidetone/rtc/quality"
)

// Codes of Telnyx's SDKs that a call gives by itself; quality.Lookup has their words.
const (
	codeOfferFailed       = 40001
	codeAnswerFailed      = 40002
	codeRemoteSDPFailed   = 40004
	codeSDPNotSent        = 40005
	codeHoldFailed        = 44001
	codeInvalidParameters = 44002
	codeICERestartFailed  = 47001
	codeNotReattached     = 48501
	codeConnectivityLost  = 33001
	codePeerFailed        = 33004
	codePathChanged       = 33008
	codeSeveralActive     = 33010
	codeAnsweredAlready   = 33006
	codeDuplicateAnswer   = 33007
	codeUnknownReattached = 35002
	codeSignalingRecovery = 36003
	codeMediaRecovery     = 36004
)

// warning is a warning or error of a code.
func warning(code int, at time.Time) (w quality.Warning, isError bool) {
	c, _ := quality.Lookup(code)
	return quality.Warning{Code: c.Code, Name: c.Name, Message: c.Message, Time: at}, c.IsError()
}
