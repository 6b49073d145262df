// Package gateway is the server side of the Verto protocol as Telnyx speaks it (telnyx_rtc.*): sessions over
// WebSockets, calls to built-in destinations (echo, tone, concierge) and between clients, each with its own peer
// connection, and the intake of call reports. It is the fake that our tests call and the gateway of the local lab.
//
// Who owns what: a session is one socket; its reader handles frames, its writer alone writes. A call is one goroutine,
// to which sessions, peers and timers post what happened. The gateway's mutex guards the registry: which client has
// which sessions and legs.
package gateway
