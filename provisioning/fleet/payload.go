package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// stamp adds to fields what every event and report has: an id by which repetitions are told, and the time.
func stamp(fields map[string]any) map[string]any {
	fields["id"] = uuid.NewString()
	fields["ts"] = time.Now().UTC()
	return fields
}

// object encodes v, a JSON object or nil, with the fields that it does not have itself.
func object(v any, fields map[string]any) ([]byte, error) {
	all := map[string]json.RawMessage{}
	if v != nil {
		b, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		if !bytes.HasPrefix(b, []byte("{")) {
			return nil, fmt.Errorf("%T is not a JSON object", v)
		}
		if err := json.Unmarshal(b, &all); err != nil {
			return nil, err
		}
	}
	for key, value := range fields {
		if _, ok := all[key]; ok {
			continue
		}
		b, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		all[key] = b
	}
	return json.Marshal(all)
}

// late marks an encoded object as told later than it happened.
func late(payload []byte) ([]byte, error) {
	if !bytes.HasPrefix(payload, []byte("{")) {
		return nil, errors.New("not a JSON object")
	}
	return object(json.RawMessage(payload), map[string]any{"late": true})
}
