package device

import (
	"context"

	"sidetone/audio"
)

// Null is a device without sound: it captures silence and throws away what it plays, a frame each 20 ms.
type Null struct{}

var _ audio.Duplex = Null{}

// Run implements audio.Duplex.
func (Null) Run(ctx context.Context, speaker audio.Source, mic audio.Sink) error {
	var f audio.Frame
	return pace(ctx, func(int) error {
		speaker.PullFrame(&f)
		clear(f[:])
		mic.PushFrame(&f)
		return nil
	})
}
