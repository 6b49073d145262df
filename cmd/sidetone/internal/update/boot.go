package update

import "sidetone/ota/slot"

// boot is boot control as ota.Boot has it.
type boot struct {
	slot.Control
	before  func() error
	version string
	err     error // why there is none
}

// Running implements ota.Boot.
func (b boot) Running() (running, other string, trial bool, err error) {
	if b.err != nil {
		return "", "", false, b.err
	}
	s, err := b.Status()
	return s.Running, s.Other, s.Trial, err
}

// Try implements ota.Boot.
func (b boot) Try() error {
	if err := b.before(); err != nil {
		return err
	}
	return b.Control.Try()
}
