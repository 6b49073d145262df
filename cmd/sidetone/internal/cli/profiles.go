package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"sidetone/board"
	"sidetone/provisioning/config"
)

// systemFile is what an image says of the device that it makes, as a config file does: the first thing of all that is read.
const systemFile = "/usr/share/sidetone/system.toml"

// load loads the config over the profiles of the board that it names, and these over what the system says, if it does.
func load(file string) (*config.Config, error) { return loadOver(file, systemFile) }

func loadOver(file, system string) (*config.Config, error) {
	dir := filepath.Join(filepath.Dir(file), "boards")
	return config.LoadOver(file, func(b config.Board) ([]config.Profile, error) {
		var profiles []config.Profile
		switch doc, err := os.ReadFile(system); {
		case err == nil:
			profiles = append(profiles, config.Profile{File: system, Doc: doc})
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
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
