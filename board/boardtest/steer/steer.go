// Package steer is how a test steers an emulated board: requests to its init and the answers, a line of JSON each, over a
// virtio serial port.
package steer

import (
	"syscall"
	"time"
)

// Port is the name of the serial port.
const Port = "sidetone.steer"

// The board's network is QEMU's user network: a NAT. What it sends to other addresses, QEMU sends from a socket of its own.
const Network = "10.0.3.0/24"

// Addresses in Network: the board's, and that of its router.
var (
	Guest   = [4]byte{10, 0, 3, 15}
	Gateway = [4]byte{10, 0, 3, 2}
	Mask    = [4]byte{255, 255, 255, 0}
)

// ServicesFile is where init finds the services to run from the start: a map of names to command lines, as JSON.
const ServicesFile = "/etc/services.json"

// LinesFile is where init finds the names of the lines of the simulated GPIO chip, as a JSON list; Chip is its label.
const (
	LinesFile = "/etc/lines.json"
	Chip      = "board"
)

// ChipDir is the chip's directory in configfs, whose dev_name and chip_name tell where it is in sysfs.
const ChipDir = "/sys/kernel/config/gpio-sim/" + Chip

// Tracing is the kernel's tracefs, whose file trace tells each level that a GPIO line was given since the boot.
const Tracing = "/sys/kernel/tracing"

// Ops of a Request.
const (
	Ping     = "ping"     // nothing
	Run      = "run"      // Argv to its end: Stdout, Stderr, Code
	Service  = "service"  // Argv under Name from now on: it is started again whenever it ends
	Stop     = "stop"     // the service Name, or what is played under that name, ends and stays away
	Signal   = "signal"   // the service Name gets Signal
	Kill     = "kill"     // the process PID gets Signal
	PID      = "pid"      // of the service Name: Code
	Read     = "read"     // the file Path: Data
	Await    = "await"    // until the file Path, which may not be there yet, holds Data, for For at most: At
	Fifo     = "fifo"     // Path becomes a named pipe: whoever opens it to write hangs, as at a dead disk
	Drive    = "drive"    // Steps, one after the other: At of the first, and Late
	Mkdir    = "mkdir"    // Path
	Glob     = "glob"     // the pattern Path: Paths
	Play     = "play"     // Data, s16 mono at 48 kHz, into the ALSA device Path, over and over until Name is stopped
	Record   = "record"   // from the ALSA device Path for For: Data, s16 mono at 48 kHz
	PowerOff = "poweroff" // no answer
)

// Request is what init is asked. Requests run beside one another; an answer has the request's ID.
type Request struct {
	ID     int            `json:"id"`
	Op     string         `json:"op"`
	Name   string         `json:"name,omitempty"`
	Argv   []string       `json:"argv,omitempty"`
	Path   string         `json:"path,omitempty"`
	Data   []byte         `json:"data,omitempty"`
	Steps  []Step         `json:"steps,omitempty"`
	For    time.Duration  `json:"for,omitempty"`
	Signal syscall.Signal `json:"signal,omitempty"`
	PID    int            `json:"pid,omitempty"`
}

// Step writes Data to the file Path, After the step before.
type Step struct {
	After time.Duration `json:"after,omitempty"`
	Path  string        `json:"path"`
	Data  []byte        `json:"data"`
}

// Answer is what init says to the request of the same ID. An Err means that nothing else counts.
type Answer struct {
	ID     int      `json:"id"`
	Err    string   `json:"err,omitempty"`
	Stdout string   `json:"stdout,omitempty"`
	Stderr string   `json:"stderr,omitempty"`
	Code   int      `json:"code,omitempty"`
	Data   []byte   `json:"data,omitempty"`
	Paths  []string `json:"paths,omitempty"`

	At   time.Duration `json:"at,omitempty"`   // by CLOCK_MONOTONIC
	Late time.Duration `json:"late,omitempty"` // of the step that came latest, after its time
}
