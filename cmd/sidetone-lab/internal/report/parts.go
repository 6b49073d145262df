package report

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
)

// merge puts parts together: the stats and logs of all, and everything else of the last. missing counts the parts that
// others prove.
func merge(parts [][]byte) (whole body, count, missing int, err error) {
	if len(parts) == 0 {
		return whole, 0, 0, errors.New("there is nothing of it")
	}
	bySegment := map[int]body{}
	last, ended := -1, false
	for _, b := range parts {
		var in body
		if err := json.Unmarshal(b, &in); err != nil {
			return whole, 0, 0, err
		}
		n := 0
		if in.Segment != nil {
			n = *in.Segment
		}
		bySegment[n] = in
		last = max(last, n)
		ended = ended || in.FlushReason == nil
	}
	whole = bySegment[last]
	whole.Stats, whole.Logs = nil, nil
	for n := range last + 1 {
		p, ok := bySegment[n]
		if !ok {
			missing++
			continue
		}
		whole.Stats, whole.Logs = append(whole.Stats, p.Stats...), append(whole.Logs, p.Logs...)
	}
	if !ended {
		missing++
	}
	return whole, len(bySegment), missing, nil
}

// Stored reads the reports that a gateway keeps in dir, each put together from its parts, in the order in which the calls
// came first. Files that are no reports are passed over.
func Stored(dir string) ([]Report, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.report.json")) // sorted, and names begin with the time
	if err != nil {
		return nil, err
	}
	var order []string
	parts := map[string][][]byte{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		r, err := Parse(b)
		if err != nil {
			continue
		}
		if !slices.Contains(order, r.CallID) {
			order = append(order, r.CallID)
		}
		parts[r.CallID] = append(parts[r.CallID], b)
	}
	var all []Report
	for _, id := range order {
		if r, err := Parse(parts[id]...); err == nil {
			all = append(all, r)
		}
	}
	return all, nil
}
