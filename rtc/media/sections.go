package media

import (
	"slices"

	"github.com/pion/sdp/v3"
)

// sections are the m-lines of the far side's that we take no part in (video, a second audio). pion never sees them: with
// more than one m-line it peeks into streams that are ours to read. They stay in our SDP, refused, at their places
// (RFC 3264, sections 6 and 8).
type sections struct {
	at     int // of the audio that we take
	others []*sdp.MediaDescription
}

// soundOnly leaves the first audio section that is alive; a description without one stays as it is.
func soundOnly(description string) (string, sections, error) {
	d, err := parse(description)
	if err != nil {
		return "", sections{}, err
	}
	at := slices.IndexFunc(d.MediaDescriptions, func(m *sdp.MediaDescription) bool {
		return m.MediaName.Media == "audio" && m.MediaName.Port.Value != 0
	})
	if at < 0 || len(d.MediaDescriptions) == 1 {
		return description, sections{}, nil
	}
	s := sections{at: at}
	for i, m := range d.MediaDescriptions {
		if i == at {
			continue
		}
		refused := &sdp.MediaDescription{
			MediaName: sdp.MediaName{Media: m.MediaName.Media, Protos: m.MediaName.Protos, Formats: m.MediaName.Formats},
			ConnectionInformation: &sdp.ConnectionInformation{
				NetworkType: "IN", AddressType: "IP4", Address: &sdp.Address{Address: "0.0.0.0"}},
			Attributes: []sdp.Attribute{{Key: sdp.AttrKeyInactive}},
		}
		if mid, ok := m.Attribute(sdp.AttrKeyMID); ok {
			setAttribute(refused, sdp.AttrKeyMID, mid)
		}
		s.others = append(s.others, refused)
	}
	d.MediaDescriptions = d.MediaDescriptions[at : at+1]
	out, err := d.Marshal()
	return string(out), s, err
}

// put brings the refused sections back.
func (s sections) put(d *sdp.SessionDescription) {
	if len(s.others) == 0 || len(d.MediaDescriptions) != 1 {
		return
	}
	all := slices.Clone(s.others)
	d.MediaDescriptions = slices.Insert(all, min(s.at, len(all)), d.MediaDescriptions[0])
}
