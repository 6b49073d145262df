package verto

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

// Each structure of the wire against a frame written by hand: all that stands in the frame is read, all of the structure
// is in the frame, and what is written again is the same.
func TestWire(t *testing.T) {
	const dialog = `{"callID":"c1","callId":"c2","destination_number":"+15550199","caller_id_name":"Lobby",
		"caller_id_number":"+15550100","remote_caller_id_name":"Outbound Call","remote_caller_id_number":"+15550199",
		"custom_headers":[{"name":"X-Site","value":"lobby"}],"clientState":"aGVsbG8=","audio":true,
		"preferred_codecs":[{"mimeType":"audio/opus","clockRate":48000,"channels":2}],
		"userVariables":{"floor":"3"},"telnyxCallControlId":"v3:1","telnyxSessionId":"s1","telnyxLegId":"l1","attach":true}`
	for _, tt := range []struct {
		into  any
		frame string
	}{
		{new(Frame), `{"jsonrpc":"2.0","id":7,"method":"telnyx_rtc.ping","params":{"serno":7},"result":{"a":1},
			"error":{"code":-32002,"message":"CALL ERROR","params":{"state":"NOREG"},"cause":"USER_BUSY","causeCode":17},
			"type":"debug_report_data","voice_sdk_id":"VSDK1","debug_report_id":"r1","debug_report_version":1,
			"debug_report_data":{"rtt":1},"call_id":"c1"}`},
		{new(LoginParams), `{"login_token":"a.b.c","login":"user","passwd":"pw","userVariables":{"push_when_active":false},
			"reconnection":true,"loginParams":{"early_sdp_answer":false},"User-Agent":{"sdkVersion":"1","data":"x"},"sessid":"s1"}`},
		{new(AnonymousLoginParams), `{"target_type":"ai_assistant","target_id":"assistant-1","target_version_id":"v2",
			"target_params":{"conversation_id":"k1"},"userVariables":{"a":1},"reconnection":true,"User-Agent":"iOS-4.1.2","sessid":"s1"}`},
		{new(bareParams), `{"sessid":"s1"}`},
		{new(LoginResult), `{"message":"logged in","sessid":"s1"}`},
		{new(GatewayStateResult), `{"params":{"state":"REGED","call_report_id":"r1","region":"eu","dc":"fra"},"sessid":"s1"}`},
		{new(ClientReadyParams), `{"reattached_sessions":["c1"]}`},
		{new(ClientCallParams), `{"sessid":"s1","callID":"c1","sdp":"v=0","User-Agent":"Web-2.27.10","trickle":true,
			"action":"updateMedia","destination":"100","replaceCallID":"c3","dtmf":"5","cause":"USER_BUSY","causeCode":17,
			"sipCode":486,"sip_call_id":"i1","candidate":"candidate:1","sdpMid":"0","sdpMLineIndex":0,"endOfCandidates":true,
			"dialogParams":` + dialog + `}`},
		{new(ServerCallParams), `{"callID":"c1","sdp":"v=0","action":"updateMedia","caller_id_name":"Lobby",
			"caller_id_number":"100","callee_id_name":"Desk","callee_id_number":"200","display_name":"Lobby",
			"display_number":"100","display_direction":"inbound","telnyx_call_control_id":"v3:1","telnyx_session_id":"s1",
			"telnyx_leg_id":"l1","client_state":"aGVsbG8=","cause":"USER_BUSY","causeCode":17,"sipCode":486,
			"sipReason":"Busy Here","sip_call_id":"i1","candidate":"candidate:1","sdpMid":"0","sdpMLineIndex":0,"dtmf":"5",
			"dialogParams":` + dialog + `,"variables":{"a":"b"}}`},
		{new(CallResult), `{"callID":"c1","message":"CALL CREATED","action":"hold","holdState":"held","sdp":"v=0",
			"cause":"NORMAL_CLEARING","causeCode":16,"sessid":"s1"}`},
		{new(AIMessage), `{"type":"conversation.item.create","previous_item_id":"i0","item":{"id":"i1"}}`},
		{new(aiText), `{"id":"i1","type":"message","role":"user","content":[
			{"type":"image_url","text":"look","image_url":{"url":"data:image/png;base64,AA=="}}]}`},
		{new(aiToolOutput), `{"type":"function_call_output","call_id":"t1","output":"{}"}`},
	} {
		in := json.NewDecoder(bytes.NewReader([]byte(tt.frame)))
		in.DisallowUnknownFields()
		if err := in.Decode(tt.into); err != nil {
			t.Errorf("%T: %v", tt.into, err)
			continue
		}
		whole(t, reflect.ValueOf(tt.into).Elem(), reflect.TypeOf(tt.into).Elem().Name())
		out, err := json.Marshal(tt.into)
		if err != nil {
			t.Errorf("%T: %v", tt.into, err)
			continue
		}
		var want, got any
		if err := json.Unmarshal([]byte(tt.frame), &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(want, got) {
			t.Errorf("%T is written as\n%s\nwant\n%s", tt.into, out, tt.frame)
		}
	}
}

// whole checks that every field with a JSON name was read.
func whole(t *testing.T, v reflect.Value, path string) {
	t.Helper()
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			whole(t, v.Elem(), path)
		}
	case reflect.Slice:
		for i := range v.Len() {
			if v.Type().Elem().Kind() == reflect.Struct {
				whole(t, v.Index(i), path)
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if f.Tag.Get("json") == "" || f.Tag.Get("json") == "-" {
				continue
			}
			if v.Field(i).IsZero() {
				t.Errorf("%s.%s is not in the frame of this test: put it there", path, f.Name)
			}
			whole(t, v.Field(i), path+"."+f.Name)
		}
	}
}

// The names of methods, as each dialect has them, and of what else is a word of the wire.
func TestWireNames(t *testing.T) {
	for name, wire := range map[string]string{
		ClientReady: "clientReady", GatewayState: "gatewayState", Ping: "ping", Invite: "invite", Ringing: "ringing",
		Media: "media", Answer: "answer", Attach: "attach", Modify: "modify", Info: "info", Bye: "bye", Display: "display",
		Candidate: "candidate", EndOfCandidates: "endOfCandidates", Punt: "punt",
	} {
		if got := Telnyx.Method(name); got != "telnyx_rtc."+wire {
			t.Errorf("Telnyx: %s", got)
		}
		if got := FreeSWITCH.Method(name); got != "verto."+wire {
			t.Errorf("FreeSWITCH: %s", got)
		}
	}
	for name, wire := range map[string]string{Login: "login", AnonymousLogin: "anonymous_login", AIConversation: "ai_conversation"} {
		if got := Telnyx.Method(name); got != wire {
			t.Errorf("Telnyx: %s, want %s", got, wire)
		}
	}
	for word, wire := range map[string]string{
		Version: "2.0", DebugStart: "debug_report_start", DebugData: "debug_report_data", DebugStop: "debug_report_stop",
		itemCreate:      "conversation.item.create",
		StateRegistered: "REGED", StateRegister: "REGISTER", StateUnregistered: "UNREGED", StateNoRegister: "NOREG",
		StateFailed: "FAILED", StateFailWait: "FAIL_WAIT", StateTimeout: "TIMEOUT", StateTrying: "TRYING",
		StateExpired: "EXPIRED", StateUnregister: "UNREGISTER", StateDown: "DOWN", StateAttached: "ATTACHED",
	} {
		if word != wire {
			t.Errorf("%s, want %s", word, wire)
		}
	}
	for code, wire := range map[int]int{
		CodeParse: -32700, CodeInvalidRequest: -32600, CodeMethodNotFound: -32601, CodePermissionDenied: -32602,
		CodeAuthenticationRequired: -32000, CodeAuthenticationFailed: -32001, CodeSessionError: -32002,
		CodeGatewayTimeout: -32003, CodeGatewayDown: -32004,
	} {
		if code != wire {
			t.Errorf("%d, want %d", code, wire)
		}
	}
}

// A batch of 32 frames is taken; of one more, none.
func TestBatchSize(t *testing.T) {
	for n, want := range map[int]int{32: 32, 33: 0} {
		frames, err := ParseAll([]byte("[" + strings.Repeat(`{"method":"x"},`, n-1) + `{"method":"x"}]`))
		if len(frames) != want || (err != nil) != (want == 0) {
			t.Errorf("%d frames: %d taken, %v", n, len(frames), err)
		}
	}
}

// What of the SDKs' timing no other test measures exactly.
func TestTimes(t *testing.T) {
	if checkPeriod != 3*time.Second || exhaustedTries != 10 {
		t.Errorf("signs of life are looked for each %v, and browsers give up after %d tries", checkPeriod, exhaustedTries)
	}
}
