// Package bundle is what an update is trusted by: signed metadata in TUF's roles, and a list of the image's chunks. An
// offline root key says which keys sign for releases; those sign a targets file for each board; a key that lives on the
// server signs a timestamp, which expires soon, so that nobody can hold a fleet on an old release unnoticed.
//
// The roles, names and rules of verification are those of the TUF specification 1.0, section 5.3, less the snapshot
// role: with one targets file to a board the timestamp itself lists what is current. Envelopes are DSSE v1: what is
// signed are the bytes that are parsed, so that nothing depends on how JSON is written. Fields that are not known are passed
// over, as both specifications want it: a device takes the releases of tools that are newer than it.
package bundle

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// payloadType of every envelope; it is signed too.
const payloadType = "application/vnd.sidetone.update+json"

// Envelope is signed metadata as it is stored and sent. (DSSE v1.0.)
type Envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     []byte      `json:"payload"` // base64 in JSON
	Signatures  []Signature `json:"signatures"`
}

// Signature is one key's.
type Signature struct {
	KeyID string `json:"keyid"`
	Sig   []byte `json:"sig"`
}

// KeyID names a public key: the SHA-256 of it, hex.
func KeyID(k ed25519.PublicKey) string {
	sum := sha256.Sum256(k)
	return hex.EncodeToString(sum[:])
}

// pae is what is signed. (DSSE v1.0, "pre-authentication encoding".)
func pae(payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
}

// Sign puts metadata into an envelope, signed by each key.
func Sign(metadata any, keys ...ed25519.PrivateKey) (*Envelope, error) {
	payload, err := json.Marshal(metadata)
	if err != nil {
		return nil, err
	}
	e := &Envelope{PayloadType: payloadType, Payload: payload}
	e.Add(keys...)
	return e, nil
}

// Add signs what is in the envelope with more keys: those of a threshold seldom are in one place.
func (e *Envelope) Add(keys ...ed25519.PrivateKey) {
	for _, k := range keys {
		e.Signatures = append(e.Signatures, Signature{
			KeyID: KeyID(k.Public().(ed25519.PublicKey)),
			Sig:   ed25519.Sign(k, pae(e.Payload)),
		})
	}
}

// parseEnvelope reads an envelope without trusting anything in it.
func parseEnvelope(b []byte) (*Envelope, error) {
	var e Envelope
	if err := json.Unmarshal(b, &e); err != nil {
		return nil, err
	}
	if e.PayloadType != payloadType {
		return nil, fmt.Errorf("payloadType is %q, want %q", e.PayloadType, payloadType)
	}
	return &e, nil
}

// verify counts the keys of a role that signed, each once however often it did.
func (e *Envelope) verify(root *Root, role Role) error {
	keys := root.Roles[role]
	signed := map[string]bool{}
	for _, s := range e.Signatures {
		public, is := root.Keys[s.KeyID]
		if is && keys.Has(s.KeyID) && len(public) == ed25519.PublicKeySize && ed25519.Verify(public, pae(e.Payload), s.Sig) {
			signed[s.KeyID] = true
		}
	}
	if len(signed) < keys.Threshold || keys.Threshold < 1 {
		return fmt.Errorf("%w: %d of %d signatures that %s needs are there and right", ErrSignature, len(signed), keys.Threshold, role)
	}
	return nil
}
