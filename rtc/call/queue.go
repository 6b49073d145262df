package call

import "sync"

// queue takes without waiting and gives in order: what lets the owner, and those who tell it things, never block on
// each other.
type queue[T any] struct {
	ready chan struct{} // has a token while there may be something to take

	mu     sync.Mutex
	items  []T
	closed bool
}

func newQueue[T any]() *queue[T] { return &queue[T]{ready: make(chan struct{}, 1)} }

// put adds an item; a closed queue drops it.
func (q *queue[T]) put(item T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	q.items = append(q.items, item)
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// take gives all that is there.
func (q *queue[T]) take() []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	items := q.items
	q.items = nil
	return items
}

// close drops what is there and what comes.
func (q *queue[T]) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.items, q.closed = nil, true
}

// worker does jobs one after the other, in a goroutine of its own. A nil job ends it.
type worker struct{ jobs *queue[func()] }

func startWorker(wg *sync.WaitGroup) *worker {
	w := &worker{jobs: newQueue[func()]()}
	wg.Go(func() {
		for range w.jobs.ready {
			for _, job := range w.jobs.take() {
				if job == nil {
					return
				}
				job()
			}
		}
	})
	return w
}

func (w *worker) do(job func()) { w.jobs.put(job) }

func (w *worker) end() { w.jobs.put(nil) }
