// Package slot is boot control: which of two systems runs, which one is tried next, which one stays. Whatever the power
// does, one whole system is what boots.
package slot

import (
	"errors"

	"sidetone/ota/disk"
)

// Status says what runs.
type Status struct {
	Running string // name of the slot that runs
	Other   string // name of the slot beside it: the one an update is written to
	Trial   bool   // Running boots only this once, unless Commit is called
}

// Control is the boot control of one kind of board.
type Control interface {
	// Status reads what the boot loader says.
	Status() (Status, error)
	// Open opens the slot that does not run, for writing. On trial that is what boots, and nobody may: ErrTrial.
	Open() (Device, error)
	// OpenRunning opens the slot that runs, for reading.
	OpenRunning() (Device, error)
	// Try boots the other slot once: when that system resets without Commit, this one boots again. It does not return
	// where it works, but for boards on which somebody else reboots.
	Try() error
	// Commit makes the running slot what boots from now on. It is on the disk when Commit returns.
	Commit() error
	// Revert gives up the trial that runs, and boots the other slot.
	Revert() error
}

// Device is a slot as storage.
type Device = disk.File

// spare gives the slot that nothing boots from, whatever the power does.
func (s Status) spare() (string, error) {
	if s.Trial {
		return "", ErrTrial
	}
	return s.Other, nil
}

// ErrTrial is Open's and Try's answer while the slot that runs has not been committed.
var ErrTrial = errors.New("this system is on trial itself: the other slot is what boots")

// ErrNoTrial is Commit's and Revert's answer when the slot that runs is what boots anyway.
var ErrNoTrial = errors.New("this system is not on trial")
