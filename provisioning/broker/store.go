package broker

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"

	"github.com/google/uuid"
)

// stateFile is the one file of state in Config.Dir.
const stateFile = "credentials.json"

// state is everything kept. SIP passwords stand in clear because the API gives them out again; device secrets are
// kept as hashes.
type state struct {
	APIKey       string                   `json:"api_key"`
	SigningKey   []byte                   `json:"signing_key"`
	UserID       string                   `json:"user_id"`
	ConnectionID string                   `json:"connection_id"`
	Credentials  []*Credential            `json:"credentials"`
	Devices      map[string]deviceSecrets `json:"devices"`
}

// openState reads the state of dir, or makes it.
func openState(dir string) (state, error) {
	path := filepath.Join(dir, stateFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newState(dir)
	}
	if err != nil {
		return state{}, fmt.Errorf("reading the credentials: %w", err)
	}
	var st state
	if err := json.Unmarshal(b, &st); err != nil {
		return state{}, fmt.Errorf("%s is not readable as JSON (%w); move it away to start with fresh keys", path, err)
	}
	if st.APIKey == "" || len(st.SigningKey) < 32 {
		return state{}, fmt.Errorf("%s has no keys; move it away to start with fresh ones", path)
	}
	if st.Devices == nil {
		st.Devices = map[string]deviceSecrets{}
	}
	return st, nil
}

func newState(dir string) (state, error) {
	connection, err := rand.Int(rand.Reader, big.NewInt(1e18))
	if err != nil {
		return state{}, err
	}
	st := state{
		APIKey:       "KEY" + randomText(24),
		SigningKey:   make([]byte, 32),
		UserID:       uuid.NewString(),
		ConnectionID: fmt.Sprintf("1%018d", connection),
		Credentials:  []*Credential{},
		Devices:      map[string]deviceSecrets{},
	}
	rand.Read(st.SigningKey)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return state{}, err
	}
	return st, st.save(dir)
}

// save writes the state so that after a crash either the old or the new one is there.
func (st *state) save(dir string) error {
	b, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+stateFile+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // once renamed, there is nothing to remove
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, stateFile)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// randomText is n random bytes as text that is safe in URLs and headers.
func randomText(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}
