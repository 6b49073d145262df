package call

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"
)

// Everything at random, against real time-outs, with line and media that fail at random. What must always hold is
// checked by world.check at the end of each round.
func TestManagerModel(t *testing.T) {
	rounds := 400
	switch {
	case os.Getenv("SIDETONE_LONG") != "":
		rounds = 10_000
	case testing.Short():
		rounds = 100
	}
	rng := rand.New(rand.NewPCG(3, 4))
	ends, reached := map[EndedBy]int{}, map[State]int{}
	for range rounds {
		maybe := func(err error) error {
			if rng.IntN(10) == 0 {
				return err
			}
			return nil
		}
		in(t, func(c *Config, w *world) {
			c.AutoAnswer, c.AnswerDelay = rng.IntN(3) == 0, time.Duration(rng.IntN(3))*time.Second
			c.SecondCall = []SecondCall{SecondBusy, SecondWait, SecondHold}[rng.IntN(3)]
			c.DTMF, c.RelayFallback, c.StartMuted = []DTMFMode{DTMFInfo, DTMFRTP}[rng.IntN(2)], rng.IntN(2) == 0, rng.IntN(4) == 0
			w.line.delay = time.Duration(rng.IntN(3)) * 100 * time.Millisecond
			w.line.inviteErr, w.line.answerErr, w.line.byeErr = maybe(errOffline), maybe(&Refused{Err: errOffline}), maybe(errOffline)
			w.line.attachErr, w.line.modifyErr, w.line.unhealthy = maybe(errOffline), maybe(&Refused{Err: errOffline}), maybe(errOffline)
			w.newMediaErr, w.offerErr, w.answerErr, w.setErr = maybe(errOffline), maybe(errOffline), maybe(errOffline), maybe(errOffline)
			w.restartErr, w.dtmfErr = maybe(errOffline), maybe(errOffline)
			w.gather = time.Duration(rng.IntN(3)) * 50 * time.Millisecond
		}, func(t *testing.T, w *world) {
			ids := []string{""}
			kinds := []SignalKind{
				SignalRinging, SignalEarlyMedia, SignalAnswered, SignalAnswered, SignalAnswered, SignalBye, SignalDigit, SignalDisplay,
				SignalCandidate, SignalLineLost, SignalDropped, SignalReady, SignalAttach, SignalAttach, SignalAttach,
			}
			ctx := context.Background()
			var commands sync.WaitGroup // those that wait for the platform
			for i := range 60 {
				id := ids[rng.IntN(len(ids))]
				if len(ids) > 1 && rng.IntN(2) == 0 {
					id = ids[len(ids)-1]
				}
				switch rng.IntN(20) {
				case 0, 1:
					if newID, err := w.Dial(ctx, DialRequest{Destination: "concierge", Muted: rng.IntN(2) == 0, Group: []string{"", "g"}[rng.IntN(2)]}); err == nil {
						ids = append(ids, newID)
					}
				case 2:
					newID := fmt.Sprintf("in-%d", i)
					w.Signal(Signal{Kind: SignalInvite, CallID: newID, SDP: "their offer"})
					ids = append(ids, newID)
				case 3:
					_ = w.Answer(ctx, id)
				case 4:
					_ = w.Hangup(ctx, id)
				case 5:
					commands.Go(func() { _ = w.DTMF(ctx, id, "1w2") })
				case 6, 7:
					w.mu.Lock()
					media := w.media
					w.mu.Unlock()
					if len(media) > 0 {
						events := []MediaKind{MediaConnected, MediaConnected, MediaDisconnected, MediaFailed, MediaDigit, MediaCandidate}
						m := media[len(media)-1-rng.IntN(min(3, len(media)))]
						m.mu.Lock()
						m.since, m.in, m.out = time.Now(), rng.IntN(3) > 0, rng.IntN(3) > 0
						m.mu.Unlock()
						m.notify(MediaEvent{Kind: events[rng.IntN(len(events))], Digit: "3", Candidate: "c"})
					}
				case 8:
					_ = w.ToggleMute(ctx, id)
				case 9:
					_ = w.Deaf(ctx, id, rng.IntN(2) == 0)
				case 10, 11:
					w.line.says([]string{"held", "active"}[rng.IntN(2)], []string{"", "answer anew"}[rng.IntN(2)])
					commands.Go(func() {
						_ = []func(context.Context, string) error{w.Hold, w.Unhold, w.ToggleHold}[i%3](ctx, id)
					})
				case 12:
					_ = w.Reject(ctx, id)
				default:
					k := kinds[rng.IntN(len(kinds))]
					if k == SignalDropped && id == "" {
						k = SignalAnswered
					}
					w.Signal(Signal{Kind: k, CallID: id, SDP: "x", Digit: "7", Candidate: "c", Cause: NormalClearing, Reattached: ids[rng.IntN(len(ids)):]})
				}
				if rng.IntN(2) == 0 {
					time.Sleep(time.Duration(rng.IntN(2000)) * time.Millisecond)
				}
			}
			w.stop()
			commands.Wait() // each has been answered
			for _, e := range w.of(Reported) {
				ends[e.Call.EndedBy]++
			}
			for _, e := range w.of(StateChanged) {
				reached[e.Call.State]++
			}
		})
	}
	for _, s := range []State{Active, Held, Recovering} {
		if reached[s] < rounds/16 {
			t.Errorf("state %s only %d times: the model is too weak", s, reached[s])
		}
	}
	for _, by := range []EndedBy{ByLocal, ByRemote, ByLine, ByMedia} {
		if ends[by] < rounds/8 {
			t.Errorf("only %d calls ended by %s: the model is too weak", ends[by], by)
		}
	}
	t.Logf("calls ended by: %v; states: %v", ends, reached)
}
