package call

// Signs are what light and tones of the device follow: a function of the calls' states alone, so that no tone outlives
// its reason.
type Signs struct {
	Rings    bool // somebody calls us: ring tone
	Ringback bool // it rings at the far side, and nothing else is to be heard
	Calling  bool // a call is being set up, in either direction
	Talking  bool // a call was answered and is not over, held or being taken back included
	Held     bool // all of those are on hold
}

// SignsOf gives the signs of all calls that there are.
func SignsOf(calls ...Info) Signs {
	var s Signs
	talked := false
	for _, c := range calls {
		switch c.State {
		case New, Requesting, Trying, Ringing, Answering, Early:
			s.Calling = true
			s.Rings = s.Rings || c.State == Ringing
			s.Ringback = s.Ringback || c.Direction == Outbound && c.RemoteRings && c.State < Early
		case Active, Recovering:
			s.Talking, talked = true, true
		case Held:
			s.Talking = true
		}
	}
	s.Held = s.Talking && !talked
	s.Ringback = s.Ringback && !talked
	return s
}
