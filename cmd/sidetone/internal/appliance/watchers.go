package appliance

import (
	"sync"

	"sidetone/cmd/sidetone/internal/control"
)

// watcherQueue bounds how far behind a watcher may be. A call has some ten events and a warning now and then, so a
// watcher that is this far behind is gone.
const watcherQueue = 256

// watchers hands each event to everyone who watches.
type watchers struct {
	mu  sync.Mutex
	set map[chan control.Event]struct{}
}

// watch starts a watch; stop ends it.
func (w *watchers) watch() (events <-chan control.Event, stop func()) {
	c := make(chan control.Event, watcherQueue)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.set == nil {
		w.set = map[chan control.Event]struct{}{}
	}
	w.set[c] = struct{}{}
	return c, func() { w.drop(c) }
}

func (w *watchers) drop(c chan control.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.set[c]; ok {
		delete(w.set, c)
		close(c)
	}
}

func (w *watchers) tell(e control.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.set {
		select {
		case c <- e:
		default:
			delete(w.set, c)
			close(c)
		}
	}
}

// end ends every watch.
func (w *watchers) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.set {
		close(c)
	}
	w.set = nil
}
