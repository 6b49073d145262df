package cli

import (
	"path/filepath"

	"sidetone/board"
	"sidetone/provisioning/config"
)

// load loads the config over the profiles of the board that it names.
func load(file string) (*config.Config, error) {
	dir := filepath.Join(filepath.Dir(file), "boards")
	return config.LoadOver(file, func(b config.Board) ([]config.Profile, error) {
		var profiles []config.Profile
		for _, part := range []struct {
			name string
			kind board.Kind
		}{{b.Profile, board.KindBoard}, {b.Sound, board.KindSound}} {
			if part.name == "" {
				continue
			}
			p, err := board.Lookup(part.name, dir, part.kind)
			if err != nil {
				return nil, err
			}
			profiles = append(profiles, config.Profile{File: p.File, Doc: p.Doc})
		}
		return profiles, nil
	})
}
