package appliance

import (
	"context"
	"time"

	"sidetone/rtc/call"
	"sidetone/rtc/media"
)

// watchAgain is when the network is watched again after that failed.
const watchAgain = 10 * time.Second

// watchNetwork has line and calls look to themselves as soon as the kernel says that the network has changed, where
// time-outs would need half a minute. The line is told first: whether it is well decides how calls are mended.
func (a *Appliance) watchNetwork(ctx context.Context) {
	var was *media.Network // when there was one last
	changed := func(n media.Network) {
		a.do(ctx, func() { a.view.offline = !n.Up() })
		before := was
		if n.Up() {
			was = &n
		}
		if before == nil {
			return
		}
		lost := n.Lost(*before)
		a.log.Info("the network has changed", "addresses", n.Addresses, "routes", n.Routes, "lost", lost)
		if !n.Up() {
			return // nothing can be mended
		}
		if err := a.line.NetworkChanged(ctx, n.Addresses); err == nil {
			a.calls.Signal(call.Signal{Kind: call.SignalNetwork, Lost: lost})
		}
	}
	for ctx.Err() == nil {
		if err := media.Watch(ctx, changed); err != nil {
			a.log.Warn("changes of the network are noticed late", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(watchAgain):
		}
	}
}
