package quality

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// The codes and names of the SDKs (@telnyx/webrtc 2.27.10); those with an F are fatal.
const sdkCodes = `40001 SDP_CREATE_OFFER_FAILED F, 40002 SDP_CREATE_ANSWER_FAILED F, 40003 SDP_SET_LOCAL_DESCRIPTION_FAILED F,
40004 SDP_SET_REMOTE_DESCRIPTION_FAILED F, 40005 SDP_SEND_FAILED F, 42001 MEDIA_MICROPHONE_PERMISSION_DENIED F,
42002 MEDIA_DEVICE_NOT_FOUND F, 42003 MEDIA_GET_USER_MEDIA_FAILED F, 44001 HOLD_FAILED, 44002 INVALID_CALL_PARAMETERS F,
44003 BYE_SEND_FAILED, 44004 SUBSCRIBE_FAILED, 44005 PEER_CLOSED_DURING_INIT F, 45001 WEBSOCKET_CONNECTION_FAILED F,
45002 WEBSOCKET_ERROR, 45003 RECONNECTION_EXHAUSTED F, 45004 GATEWAY_FAILED, 46001 LOGIN_FAILED F,
46002 INVALID_CREDENTIALS F, 46003 AUTHENTICATION_REQUIRED, 47001 ICE_RESTART_FAILED, 48001 NETWORK_OFFLINE,
48501 SESSION_NOT_REATTACHED F, 49001 UNEXPECTED_ERROR F, 31001 HIGH_RTT, 31002 HIGH_JITTER, 31003 HIGH_PACKET_LOSS,
31004 LOW_MOS, 31005 LOW_LOCAL_AUDIO, 31006 LOW_INBOUND_AUDIO, 32001 LOW_BYTES_RECEIVED, 32002 LOW_BYTES_SENT,
32003 RECORDING_UNAVAILABLE, 32004 RECORDING_BUFFER_OVERFLOW, 33001 ICE_CONNECTIVITY_LOST, 33002 ICE_GATHERING_TIMEOUT,
33003 ICE_GATHERING_EMPTY, 33004 PEER_CONNECTION_FAILED, 33005 ONLY_HOST_ICE_CANDIDATES, 33006 ANSWER_WHILE_PEER_ACTIVE,
33007 DUPLICATE_INBOUND_ANSWER, 33008 ICE_CANDIDATE_PAIR_CHANGED, 33009 AUDIO_INPUT_DEVICE_CHANGE_SKIPPED,
33010 MULTIPLE_ACTIVE_CALLS_DETECTED, 33011 SHARED_REMOTE_ELEMENT_OVERWRITE, 34001 TOKEN_EXPIRING_SOON,
35002 UNKNOWN_REATTACHED_SESSION, 36003 SIGNALING_RECOVERY_REQUIRED, 36004 MEDIA_RECOVERY_REQUIRED,
36005 RECONNECTION_FAILED_WITH_NO_AUTO_RECONNECT`

func TestConditionCodes(t *testing.T) {
	var ours []string
	for _, c := range Conditions() {
		s := fmt.Sprintf("%d %s", c.Code, c.Name)
		if c.Fatal {
			s += " F"
		}
		ours = append(ours, s)
	}
	if theirs := strings.Split(strings.ReplaceAll(sdkCodes, "\n", " "), ", "); !slices.Equal(ours, theirs) {
		t.Errorf("conditions are\n%q\nwant\n%q", ours, theirs)
	}
	for code, want := range map[int]int{
		HighRTT: 31001, HighJitter: 31002, HighPacketLoss: 31003, LowMOS: 31004, LowLocalAudio: 31005, LowInboundAudio: 31006,
		LowBytesReceived: 32001, LowBytesSent: 32002, DeviceChangeSkipped: 33009, GatheringTimeout: 33002, GatheringEmpty: 33003,
		OnlyHostCandidates: 33005, DeviceDenied: 42001, DeviceNotFound: 42002, DeviceFailed: 42003,
	} {
		if code != want {
			t.Errorf("%d, want %d", code, want)
		}
	}
	flushes := map[string]string{
		FlushBufferLimit: "buffer-limit", FlushManual: "manual", FlushSocketClose: "socket-close", FlushSocketError: "socket-error",
	}
	for _, why := range slices.Sorted(maps.Keys(flushes)) {
		if want := flushes[why]; why != want {
			t.Errorf("%s, want %s", why, want)
		}
	}
}

// A part is due by the lines of the log alone, too.
func TestPartDueByLogs(t *testing.T) {
	c := NewCollector(CollectorConfig{})
	for n := 1; n <= 800; n++ {
		c.Log(LogEntry{Timestamp: epoch, Level: "info", Message: fmt.Sprint(n)})
		if due := c.PartDue(); due != (n == 800) {
			t.Fatalf("line %d: due %t", n, due)
		}
	}
}
