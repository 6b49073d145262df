package cli

import (
	"flag"
	"fmt"
	"strings"
	"time"

	"sidetone/audio/audiotest"
)

// trace makes a schedule.
func trace(e env, set *flag.FlagSet, args []string) error {
	kind := set.String("kind", "", strings.Join(audiotest.Networks, ", "))
	seed := set.Uint64("seed", 1, "of chance")
	out := set.String("out", "", "the CSV `file` to write")
	seconds := set.Int("seconds", 60, "how long the schedule is")
	if err := parse(e, set, args, "kind", "out"); err != nil {
		return err
	}
	if *seconds < 1 {
		return fmt.Errorf("--seconds %d: say at least 1", *seconds)
	}
	s, err := audiotest.Network(*kind, *seed, time.Duration(*seconds)*time.Second)
	if err != nil {
		return err
	}
	return audiotest.WriteSchedule(*out, s)
}
