package gateway

import (
	"context"
	"sync"
	"time"

	"sidetone/rtc/verto"

	"github.com/google/uuid"
)

const callQueue = 64 // what is posted to a call that works; more waits

// call connects a client to a built-in destination, or two clients. One goroutine owns it: all its methods but post run
// there, post brings it there. Each of its files has one thing to do: setup.go the way to the answer, talk.go what the
// legs hear of each other, path.go media that is lost and found, end.go its end, transfer.go transfers.
//
//	trying --> ringing --> active --> ended
//	   \----------\----------------------^
//
// A transfer rings other legs while the call stays active.
type call struct {
	g       *Gateway
	id      string // telnyx_session_id, the same on both sides
	in      chan func()
	posting sync.RWMutex  // held by who posts, so that release knows when nobody does any more
	done    chan struct{} // closed when the call has ended

	caller  *leg        // nil: a built-in destination calls
	callee  *leg        // who answered
	ringing []*leg      // who may answer; the first one becomes callee, or caller after a transfer of the callee
	app     destination // what talks to the one leg; its run is nil between clients

	callerName, calleeName string
	offer                  verto.ClientCallParams // the caller's invite

	state   string
	ring    *time.Timer
	digit   chan string        // DTMF for app
	stopApp context.CancelFunc // ends app, which runs from the answer on
	appDone chan struct{}
	closing sync.WaitGroup // peers and legs that are closed while the call goes on
	tasks   sync.WaitGroup // goroutines between the legs; they end with quit
	quit    chan struct{}
}

func (g *Gateway) newCall() *call {
	return &call{
		g: g, id: uuid.NewString(), in: make(chan func(), callQueue), done: make(chan struct{}), state: CallTrying,
		digit: make(chan string, 32), quit: make(chan struct{}),
	}
}

// run starts the call's goroutine with its first step. Its first leg is registered, so that Close waits for it.
func (g *Gateway) run(c *call, begin func()) {
	go func() {
		defer c.release()
		begin()
		for c.state != CallEnded {
			select {
			case do := <-c.in:
				do()
			case <-g.stop:
				c.end(normalClearing, nil)
			}
		}
	}()
}

// post has do run by the call's goroutine and reports true, unless the call has ended: then do never runs. It may wait
// while the call is at work.
func (c *call) post(do func()) bool {
	c.posting.RLock()
	defer c.posting.RUnlock()
	select {
	case <-c.done:
		return false
	default:
	}
	select {
	case c.in <- do:
		return true
	case <-c.done:
		return false
	}
}

// release gives back what the call holds. What was posted is done first, for who waits for an answer.
func (c *call) release() {
	close(c.done)
	c.posting.Lock() // who comes from here on sees that it is done
	left := len(c.in)
	c.posting.Unlock()
	for range left {
		(<-c.in)()
	}
	stopTimer(&c.ring)
	c.endApp()
	close(c.quit)
	for _, l := range c.legs() {
		l.close()
	}
	c.tasks.Wait()
	c.closing.Wait()
	c.g.notify()
}

func (c *call) legs() []*leg {
	var legs []*leg
	for _, l := range append([]*leg{c.caller, c.callee}, c.ringing...) {
		if l != nil {
			legs = append(legs, l)
		}
	}
	return legs
}

// other is the leg at the far side; nil when that is a built-in destination, or has not answered.
func (c *call) other(l *leg) *leg {
	switch {
	case l == c.caller:
		return c.callee
	case l == c.callee:
		return c.caller
	}
	return nil
}
