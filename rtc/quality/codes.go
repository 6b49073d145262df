package quality

// Condition is one thing that can go wrong with a line, a call or its media, under the code and name that Telnyx's SDKs
// give it (@telnyx/webrtc 2.27.10), with what a person should know.
type Condition struct {
	Code    int    `json:"code"`
	Name    string `json:"name"`
	Message string `json:"message"` // what happened
	Cause   string `json:"cause"`   // the likely reason
	Action  string `json:"action"`  // what to do
	// Fatal: the call, or the line, is lost. Only errors can be fatal; warnings begin at 31001 and end at 36005.
	Fatal bool `json:"fatal,omitempty"`
}

// Codes of the warnings that a Collector gives.
const (
	HighRTT          = 31001
	HighJitter       = 31002
	HighPacketLoss   = 31003
	LowMOS           = 31004
	LowLocalAudio    = 31005
	LowInboundAudio  = 31006
	LowBytesReceived = 32001
	LowBytesSent     = 32002
)

// Codes of the search for ways into the network (ICE gathering).
const (
	GatheringTimeout   = 33002
	GatheringEmpty     = 33003
	OnlyHostCandidates = 33005
)

// Codes of a sound device: it was not changed because the other one does not open; it may not be opened, is not there, or
// does not open for another reason.
const (
	DeviceChangeSkipped = 33009
	DeviceDenied        = 42001
	DeviceNotFound      = 42002
	DeviceFailed        = 42003
)

// IsError tells an error from a warning: Telnyx counts them from 40001 on.
func (c Condition) IsError() bool { return c.Code > 40000 }

// Error is an error that has a code of its own.
type Error struct {
	Code int
	Text string
}

func (e *Error) Error() string { return e.Text }

// Lookup finds a condition by its code.
func Lookup(code int) (Condition, bool) {
	for _, c := range conditions {
		if c.Code == code {
			return c, true
		}
	}
	return Condition{}, false
}

// Conditions lists all that have a code, errors first.
func Conditions() []Condition { return append([]Condition(nil), conditions...) }

const (
	sendLog    = "send the log to support"
	checkNet   = "check the network and the firewall"
	checkToken = "get a new token or check the login"
)

var conditions = []Condition{
	// Errors.
	{40001, "SDP_CREATE_OFFER_FAILED", "the SDP offer could not be made", "a fault in the media stack", sendLog, true},
	{40002, "SDP_CREATE_ANSWER_FAILED", "the SDP answer could not be made", "the caller's offer does not fit", sendLog, true},
	{40003, "SDP_SET_LOCAL_DESCRIPTION_FAILED", "our own SDP could not be applied", "a fault in the media stack", sendLog, true},
	{40004, "SDP_SET_REMOTE_DESCRIPTION_FAILED", "the far side's SDP could not be applied", "it offers no common codec or no encryption", "check the codecs of the connection", true},
	{40005, "SDP_SEND_FAILED", "our SDP could not be sent", "the platform refused the call or the line went down", "look at the cause given with it and call again", true},
	{DeviceDenied, "MEDIA_MICROPHONE_PERMISSION_DENIED", "the sound card may not be opened", "missing rights on /dev/snd", "add the user to the group audio", true},
	{DeviceNotFound, "MEDIA_DEVICE_NOT_FOUND", "the sound device is not there", "it is unplugged or has another name", "check audio.capture and audio.playback", true},
	{DeviceFailed, "MEDIA_GET_USER_MEDIA_FAILED", "the sound device could not be opened", "another program holds it", "close the other program", true},
	{44001, "HOLD_FAILED", "hold or unhold was refused", "the call has ended at the platform", "try again", false},
	{44002, "INVALID_CALL_PARAMETERS", "the call was asked for with bad parameters", "no destination", "give a number or a name to call", true},
	{44003, "BYE_SEND_FAILED", "the hang-up could not be sent", "the line is down", "nothing: the platform ends the call by itself", false},
	{44004, "SUBSCRIBE_FAILED", "a channel could not be subscribed to", "the account may not", "check the account's rights", false},
	{44005, "PEER_CLOSED_DURING_INIT", "the call was ended while it was being set up", "hung up early", "call again", true},
	{45001, "WEBSOCKET_CONNECTION_FAILED", "the platform cannot be reached", "no network, a firewall, or a certificate that is not trusted", "check line.url, line.ca_file and the network", true},
	{45002, "WEBSOCKET_ERROR", "the connection to the platform broke", "the network changed", "nothing: it is made again by itself", false},
	{45003, "RECONNECTION_EXHAUSTED", "the connection to the platform did not come back", "the network or the platform is away", checkNet, true},
	{45004, "GATEWAY_FAILED", "the platform could not register the line", "a fault at the platform", "nothing: it is tried again by itself", false},
	{46001, "LOGIN_FAILED", "the platform refused the login", "the token or the password is wrong, has expired, or was revoked", checkToken, true},
	{46002, "INVALID_CREDENTIALS", "the credentials cannot be used", "the token is no JWT, or a field is empty", checkToken, true},
	{46003, "AUTHENTICATION_REQUIRED", "the platform wants a login first", "the session has expired", checkToken, false},
	{47001, "ICE_RESTART_FAILED", "the media path could not be renewed", "the platform gave no SDP for it", "nothing: the line is renewed instead", false},
	{48001, "NETWORK_OFFLINE", "there is no network", "cable or Wi-Fi", checkNet, false},
	{48501, "SESSION_NOT_REATTACHED", "the call did not survive the lost connection", "the platform has ended it", "call again", true},
	{49001, "UNEXPECTED_ERROR", "something unforeseen went wrong", "a fault in the firmware", sendLog, true},
	// Warnings.
	{HighRTT, "HIGH_RTT", "sound takes long both ways", "a far or busy network", "use a nearer region or a better uplink", false},
	{HighJitter, "HIGH_JITTER", "packets arrive unevenly", "a busy uplink, or Wi-Fi that saves power", "prefer a cable, switch Wi-Fi power saving off", false},
	{HighPacketLoss, "HIGH_PACKET_LOSS", "packets are lost", "weak Wi-Fi or a full uplink", "check the signal; give voice priority", false},
	{LowMOS, "LOW_MOS", "the call sounds poor", "loss, jitter and delay together", "see the warnings beside this one", false},
	{LowLocalAudio, "LOW_LOCAL_AUDIO", "the microphone hears nothing", "it is muted, unplugged or set too low", "check the microphone and its gain", false},
	{LowInboundAudio, "LOW_INBOUND_AUDIO", "nothing is heard from the far side", "silence or a muted microphone over there", "ask the far side; check its microphone", false},
	{LowBytesReceived, "LOW_BYTES_RECEIVED", "no media comes in", "the media path is dead or blocked", "check the firewall; try ice.policy = \"relay\"", false},
	{LowBytesSent, "LOW_BYTES_SENT", "no media goes out", "the media path is dead, or the sound device stands still", "check the network and the sound device", false},
	{32003, "RECORDING_UNAVAILABLE", "the call cannot be recorded", "no recorder", "check the recording settings", false},
	{32004, "RECORDING_BUFFER_OVERFLOW", "a part of the recording was lost", "the upload is too slow", checkNet, false},
	{33001, "ICE_CONNECTIVITY_LOST", "the media path is silent", "the network changed or is away", "wait: it may come back", false},
	{GatheringTimeout, "ICE_GATHERING_TIMEOUT", "not all ways for media were found in time", "a TURN server does not answer", "check ice.servers", false},
	{GatheringEmpty, "ICE_GATHERING_EMPTY", "no way for media was found", "no network, or no TURN server that answers", "check the network and ice.servers", false},
	{33004, "PEER_CONNECTION_FAILED", "the media connection failed", "a firewall, or a network that changed", "try ice.policy = \"relay\"", false},
	{OnlyHostCandidates, "ONLY_HOST_ICE_CANDIDATES", "only local addresses were found", "no STUN or TURN server answered", "check ice.servers", false},
	{33006, "ANSWER_WHILE_PEER_ACTIVE", "a call was answered that is answered already", "two answers from here", "nothing", false},
	{33007, "DUPLICATE_INBOUND_ANSWER", "a call was not answered because another one is just being answered", "one call that came twice, or two answers at a time", "answer it again if it still rings", false},
	{33008, "ICE_CANDIDATE_PAIR_CHANGED", "media took another path", "the network changed", "nothing", false},
	{DeviceChangeSkipped, "AUDIO_INPUT_DEVICE_CHANGE_SKIPPED", "the microphone was not changed", "the new one is not there", "check audio.capture", false},
	{33010, "MULTIPLE_ACTIVE_CALLS_DETECTED", "more than one call is active", "a second call was answered", "hang one up", false},
	{33011, "SHARED_REMOTE_ELEMENT_OVERWRITE", "two calls share one loudspeaker", "a second call was answered", "hang one up", false},
	{34001, "TOKEN_EXPIRING_SOON", "the token is about to expire", "its time is over", "nothing where a token service is configured; else put a new token in place", false},
	{35002, "UNKNOWN_REATTACHED_SESSION", "the platform offered a call that is not ours", "a call of an earlier run", "nothing", false},
	{36003, "SIGNALING_RECOVERY_REQUIRED", "the line has to be renewed", "the platform does not answer", "nothing: it is done by itself", false},
	{36004, "MEDIA_RECOVERY_REQUIRED", "the media path has to be renewed", "no media comes in though the line is up", "nothing: it is done by itself", false},
	{36005, "RECONNECTION_FAILED_WITH_NO_AUTO_RECONNECT", "the line is down and is not made again", "reconnecting is switched off", "connect again by hand", false},
}
