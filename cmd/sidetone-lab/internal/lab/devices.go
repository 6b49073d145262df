package lab

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sidetone/cmd/internal/atomicfile"
	"sidetone/provisioning/broker"
	"sidetone/provisioning/config"
)

// Fleet is the fleet of the lab's devices.
const Fleet = "lab"

// Button is the name of the one button that each of the lab's devices has.
const Button = "call"

// model is one of the devices that a lab has configs for.
type model struct {
	name, display, key, target string
	autoAnswer                 bool
}

var models = []model{
	{name: "door1", display: "Front door", key: "1", target: "concierge"},
	{name: "door2", display: "Back door", key: "2", target: "door1", autoAnswer: true},
	{name: "kiosk1", display: "Kiosk", key: "3", target: "echo"},
}

// enroll sees to it that a device has secrets that the token service knows, those in its files still or fresh ones,
// and a credential: one that was deleted is back after the lab's next start.
func enroll(tokens *broker.Service, dir string) (err error) {
	name := filepath.Base(dir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	have := broker.DeviceSecrets{TokenKey: readSecret(tokenKeyFile(dir)), MQTTPassword: readSecret(mqttPasswordFile(dir))}
	kept, err := tokens.Keep(name, have)
	if kept || err != nil {
		return err
	}
	fresh, err := tokens.Enroll(name)
	if err != nil {
		return err
	}
	return errors.Join(
		atomicfile.Write(tokenKeyFile(dir), []byte(fresh.TokenKey+"\n"), 0o600),
		atomicfile.Write(mqttPasswordFile(dir), []byte(fresh.MQTTPassword+"\n"), 0o600),
	)
}

func tokenKeyFile(dir string) string     { return filepath.Join(dir, "token.key") }
func mqttPasswordFile(dir string) string { return filepath.Join(dir, "mqtt.password") }

func readSecret(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// writeDevices writes D/{name}.toml and the secrets in D/devices/{name} for every device, and gives the paths of the
// configs by name. They are written anew at each start, because ports change.
func (l *Lab) writeDevices() (map[string]string, error) {
	paths := map[string]string{}
	for _, m := range models {
		if err := enroll(l.tokens, l.deviceDir(m.name)); err != nil {
			return nil, fmt.Errorf("secrets of %s: %w", m.name, err)
		}
		body, err := l.deviceConfig(m).Encode()
		if err != nil {
			return nil, fmt.Errorf("config of %s: %w", m.name, err)
		}
		head := "# " + m.display + " of the lab, written by sidetone-lab at each start: changes to this file are lost.\n" +
			"# Every key and its default: sidetone config default\n\n"
		paths[m.name] = filepath.Join(l.dir, m.name+".toml")
		if err := atomicfile.Write(paths[m.name], append([]byte(head), body...), 0o644); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

func (l *Lab) deviceDir(name string) string { return filepath.Join(l.dir, "devices", name) }

func (l *Lab) deviceConfig(m model) *config.Config {
	dir, ca := l.deviceDir(m.name), filepath.Join(l.dir, caFile)
	c := config.Default()
	c.Device.Name, c.Device.Fleet, c.Device.StateDir = m.name, Fleet, filepath.Join(dir, "state")
	c.Line.URL, c.Line.CAFile = url("wss", l.at.host, l.sockets.wss)+"/", ca
	c.Line.TokenURL = url("https", l.at.host, l.sockets.wss) + "/v1/devices/" + m.name + "/token"
	c.Line.TokenKeyFile = tokenKeyFile(dir)
	c.Line.CallerName, c.Line.CallerNumber = m.display, m.name
	c.Line.AutoAnswer = m.autoAnswer
	c.Buttons = []config.Button{{Name: Button, Key: m.key, Target: m.target}}
	c.ICE.CAFile, c.ICE.Loopback = ca, l.at.ip.IsLoopback()
	c.MQTT.URL, c.MQTT.CAFile = url("mqtts", l.at.host, l.sockets.mqtts), ca
	c.MQTT.Username, c.MQTT.PasswordFile = m.name, mqttPasswordFile(dir)
	c.MQTT.StatsLive, c.Report.Interval = true, config.Duration(time.Second) // the page draws them
	c.Board.Profile = "sim"
	c.Update.URL, c.Update.CAFile, c.Update.RootFile = l.updatesURL(), ca, l.updates.RootFile()
	c.Control.Socket = filepath.Join(l.dir, m.name+".sock")
	return c
}

// certificateHosts are the names that the server certificate is good for.
func certificateHosts(a address) []string {
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	for _, h := range []string{a.host, a.ip.String(), a.bind.String()} {
		if ip := net.ParseIP(h); ip != nil && ip.IsUnspecified() {
			continue
		}
		if !slices.Contains(hosts, h) {
			hosts = append(hosts, h)
		}
	}
	return hosts
}
