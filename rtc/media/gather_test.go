package media

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/webrtc/v4"

	"sidetone/rtc/quality"
)

// TestGatheringWarnings: what is told of the search for candidates, and when.
func TestGatheringWarnings(t *testing.T) {
	const host, srflx, relay, end = webrtc.ICECandidateTypeHost, webrtc.ICECandidateTypeSrflx, webrtc.ICECandidateTypeRelay, webrtc.ICECandidateTypeUnknown
	stun, turn := serverPlan{wantSrflx: true}, serverPlan{wantRelay: true}
	type find struct {
		after time.Duration
		what  webrtc.ICECandidateType
	}
	for _, tt := range []struct {
		name    string
		policy  string
		plan    serverPlan
		trickle bool
		found   []find
		want    []int
		last    time.Duration // when the last of them is told
	}{
		{"everything", PolicyAll, turn, false, []find{{0, host}, {0, relay}, {0, end}}, nil, 0},
		{"everything, trickled", PolicyAll, turn, true, []find{{0, host}, {0, relay}, {0, end}}, nil, 0},
		{"host alone is what was asked for", PolicyAll, serverPlan{}, false, []find{{0, host}, {0, end}}, nil, 0},
		{"host alone, trickled", PolicyAll, serverPlan{}, true, []find{{0, host}, {0, end}}, nil, 0},
		{"no answer of STUN", PolicyAll, stun, false, []find{{0, host}, {5 * time.Second, end}}, []int{33005}, gatherLimit},
		{"no answer of TURN", PolicyAll, turn, false, []find{{0, host}, {0, end}}, []int{33005}, 0},
		{"no answer of TURN, trickled", PolicyAll, turn, true, []find{{0, host}, {5 * time.Second, end}}, []int{33005}, 5 * time.Second},
		{"a server that swallows everything", PolicyAll, stun, false, []find{{0, host}, {0, srflx}, {time.Minute, end}}, []int{33002}, 15 * time.Second},
		{"and another that does not answer", PolicyAll, turn, false, []find{{0, host}, {time.Minute, end}}, []int{33005, 33002}, 15 * time.Second},
		{"relay in time", PolicyRelay, turn, true, []find{{14 * time.Second, relay}, {0, end}}, nil, 0},
		{"nothing, trickled", PolicyRelay, turn, true, []find{{9 * time.Second, end}}, []int{33003}, 9 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				var told []int
				var last time.Duration
				g := newGathering(tt.policy, tt.plan, tt.trickle, func(*webrtc.ICECandidate) {}, func(code int) {
					told, last = append(told, code), time.Since(start)
				})
				defer g.end()
				g.begin()
				go func() {
					for _, f := range tt.found {
						time.Sleep(f.after)
						if f.what == end {
							g.found(nil)
						} else {
							g.found(&webrtc.ICECandidate{Typ: f.what})
						}
					}
				}()
				if !tt.trickle {
					must(t, g.wait(t.Context(), nil))
					g.take()
				}
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				if !slices.Equal(told, tt.want) || last != tt.last {
					t.Errorf("told %v, the last after %v; want %v after %v", told, last, tt.want, tt.last)
				}
			})
		})
	}
}

// A search that ended, or began anew, is not overdue.
func TestGatheringBeginsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var all []int
		told := func() []int {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(all)
		}
		g := newGathering(PolicyAll, serverPlan{}, false, func(*webrtc.ICECandidate) {}, func(code int) {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, code)
		})
		g.begin()
		time.Sleep(10 * time.Second)
		g.again()
		g.begin()
		time.Sleep(10 * time.Second)
		if len(told()) > 0 {
			t.Errorf("told %v of a search that is 10 s old", told())
		}
		time.Sleep(10 * time.Second)
		if !slices.Equal(told(), []int{quality.GatheringTimeout}) {
			t.Errorf("told %v", told())
		}
		g.again()
		g.begin()
		g.end()
		time.Sleep(time.Minute)
		if len(told()) > 1 {
			t.Errorf("told %v after the end", told())
		}
	})
}

// A session tells of a STUN server that does not answer; and the error of one that finds nothing has its code.
func TestGatheringOfASession(t *testing.T) {
	a := newPeer(t, Config{Loopback: true, Servers: []ICEServer{{URLs: []string{"stun:" + silentUDP(t)}}}})
	_, err := a.Offer(t.Context())
	must(t, err)
	if e := a.expect(t, Warned); e.Code != quality.OnlyHostCandidates || e.Time.IsZero() {
		t.Errorf("told %+v", e)
	}
	var coded *quality.Error
	if err := a.gather.none(); !errors.As(err, &coded) || coded.Code != quality.GatheringEmpty {
		t.Errorf("%v", err)
	}
}
