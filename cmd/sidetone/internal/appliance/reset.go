package appliance

import (
	"errors"
	"os"
	"path/filepath"
)

// learnt is what the device has put into its state directory since it was set up, and forgets with a reset. Files that
// people put there stay; so do the door's tampering and lock-outs, and its audit: whoever holds the reset button down must neither
// end a block nor take away who came in.
var learnt = []string{"token.json", "volume.json", "reports", "outbox", "debug", "spool"}

// requestReset has Run end, and forget then.
func (a *Appliance) requestReset() {
	a.reset.Do(func() { close(a.resetting) })
}

// forget removes what the device has learnt.
func forget(stateDir string) error {
	var err error
	for _, name := range learnt {
		err = errors.Join(err, os.RemoveAll(filepath.Join(stateDir, name)))
	}
	return err
}
