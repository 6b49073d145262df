//go:build update

package e2e_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"sidetone/board/boardtest"
)

// moments are when the power is cut, in the order in which one card has them: at random, so long after the board has said that
// a phase begins. Some phases are shorter, so that what comes between two of them is hit, too.
var moments = []struct {
	name, phase string
	from, to    time.Duration
}{
	{"download", "downloading", 0, 4 * time.Second},
	{"verify", "verifying", 0, time.Second},
	{"write head", "writing", 0, 2 * time.Second},
	{"trying", "trying", 0, 7 * time.Second},
	{"probation", "probation", 0, 4 * time.Second},
	{"commit", "probation", 3 * time.Second, 7 * time.Second},
}

// updateCourse are the phases that an update goes through.
var updateCourse = []string{"checking", "downloading", "verifying", "writing", "ready", "waiting", "trying", "probation", "committed"}

// TestUpdateKills cuts the power, by SIGKILL to QEMU, at random moments of each phase of updates. What boots after each cut is
// a whole slot, and the board's state names it. Each card ends with the new system.
func TestUpdateKills(t *testing.T) {
	t.Parallel()
	if outside(t, "qemu-system-aarch64", "fdtput", "mcopy", "genimage") {
		return
	}
	begin := time.Now()
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	k := &killed{updated: newUpdated(t), images: map[[sha256.Size]byte]string{}, told: map[string]int{}}
	k.knows(oldVersion)
	k.knows(newVersion)
	aimed, done := map[string]int{}, 0
	for card := 0; done < kills; card++ {
		var from []string
		if card%2 == 0 { // by delta, then by the whole image
			from = []string{slotImage(oldVersion)}
		}
		k.put(newVersion, slotImage(newVersion), from...)
		k.from, k.since = len(k.w.all(updateTopic)), 0
		k.powerOn(k.isWhole)
		k.comesUp()
		for _, m := range moments {
			if done == kills || k.state.Installed == newVersion {
				break
			}
			k.reaches(m.phase)
			time.Sleep(m.from + time.Duration(random.Int64N(int64(m.to-m.from))))
			k.cut()
			aimed[m.name]++
			done++
		}
		k.ends()
		k.PowerOff()
	}
	t.Logf("%d kills, seed %d", done, seed)
	for _, m := range moments {
		t.Logf("aimed at %-12s %d", m.name, aimed[m.name])
	}
	for _, phase := range updateCourse {
		t.Logf("told last %-12s %d", phase, k.told[phase])
	}
	t.Logf("%d boots, each of a whole slot, and the state named what booted after each kill; all three trials of a version were cut %d times; it took %s",
		k.boots.Load(), k.cutThrice, time.Since(begin).Round(time.Second))
}

// killed is a board whose power is cut.
type killed struct {
	*updated
	images    map[[sha256.Size]byte]string // version of each image
	size      int64                        // of each image
	boots     atomic.Int32                 // of whole slots
	since     int                          // number of the boot that followed the last cut
	state     updateState                  // what the board told first in that boot
	told      map[string]int               // cuts by the phase told last
	cutThrice int
}

// knows takes a version's image for a system that may boot.
func (k *killed) knows(version string) {
	f, err := os.Open(slotImage(version))
	if err != nil {
		k.t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if k.size, err = io.Copy(h, f); err != nil {
		k.t.Fatal(err)
	}
	k.images[[sha256.Size]byte(h.Sum(nil))] = version
}

// isWhole is asked before each boot: half a slot must not boot.
func (k *killed) isWhole(r *boardtest.Raspberry, partition int) error {
	sum, err := r.SHA256(partition, k.size)
	if err == nil && k.images[sum] == "" {
		err = fmt.Errorf("what boots is no whole image: SHA-256 %x", sum)
	}
	if err == nil {
		k.boots.Add(1)
	}
	return err
}

// cut takes the power away, and gives it back.
func (k *killed) cut() {
	k.t.Helper()
	phase := k.phase()
	k.told[phase]++
	k.Cut()
	k.from, k.since = len(k.w.all(updateTopic)), len(k.Boots())-1
	k.comesUp()
	k.t.Logf("cut in %s; then %s is %s", phase, k.state.Installed, k.state.Phase)
}

var newPhase = regexp.MustCompile(`msg=update .*phase=(?:"(rolled back)"|([a-z]+)) `)

// phase is what the board said last on its console, or else when it came up.
func (k *killed) phase() string {
	phase := k.state.Phase
	for _, b := range k.Boots()[k.since:] {
		for _, told := range newPhase.FindAllStringSubmatch(b.Console(), -1) {
			phase = told[1] + told[2]
		}
	}
	return phase
}

// reaches waits until the update is in a phase, or has been.
func (k *killed) reaches(phase string) {
	k.t.Helper()
	eventually(k.t, updatePatience, "it is "+phase, func() bool {
		return slices.Index(updateCourse, k.phase()) >= slices.Index(updateCourse, phase)
	})
}

// comesUp waits until the board has told its state, which must name what has booted, and sees that the update goes on.
func (k *killed) comesUp() {
	k.t.Helper()
	k.state = k.await("the board tells its state", func(updateState) bool { return true })
	b := k.Boots()[k.since]
	sum, err := k.SHA256(b.Partition, k.size)
	if err != nil {
		k.t.Fatal(err)
	}
	s := k.state
	kept := s.Phase == "committed"
	if is := k.images[sum]; b.Tryboot || s.Installed != is || kept != (is == newVersion) || s.Phase == "probation" {
		k.t.Errorf("partition %d boots, with %s; the state says %+v", b.Partition, is, s)
	}
	switch s.Phase {
	case "idle":
		k.do("check")
	case "rolled back":
		k.cutThrice++
		k.do("force")
	}
}

// ends waits until the new system stays.
func (k *killed) ends() {
	k.t.Helper()
	for {
		s := k.await("it is committed", func(s updateState) bool {
			return s.Phase == "committed" || s.Phase == "rolled back" || s.Phase == "failed"
		})
		if s.Phase == "committed" {
			k.runs(3)
			return
		}
		if s.Phase == "failed" {
			k.t.Fatalf("%+v", s)
		}
		k.cutThrice++
		k.do("force")
	}
}
