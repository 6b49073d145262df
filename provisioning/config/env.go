package config

import (
	"net/url"
	"reflect"
	"slices"
	"strings"
)

// envPrefix begins the variables that override the file: SIDETONE_<SECTION>_<KEY>, with each table's name on the way.
const envPrefix = "SIDETONE_"

// variable gives the name of the environment variable for a key's dotted path.
func variable(path string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// override applies the environment. Variables that begin with SIDETONE_ but with no section of ours belong to others.
func (l *loader) override(environ []string, dir string) {
	type target struct {
		path string
		field
	}
	targets := map[string]target{}
	var names, sections, lists []string
	root := reflect.ValueOf(l.config).Elem()
	for _, section := range fields(root) {
		sections = append(sections, variable(section.key)+"_")
	}
	walk("", root, func(path string, f field) {
		if f.Kind() == reflect.Slice {
			lists = append(lists, path)
			return
		}
		targets[variable(path)] = target{path, f}
		names = append(names, strings.ToLower(variable(path)))
	})
	for _, entry := range environ {
		name, text, _ := strings.Cut(entry, "=")
		if slices.Contains(proxies, name) && !isProxy(text) {
			l.add(Problem{Variable: name, Message: "that is no proxy; want http://USER:PASSWORD@HOST:PORT, with a % in the password as %25"})
		}
		if !strings.HasPrefix(name, envPrefix) {
			continue
		}
		if t, ok := targets[name]; ok {
			l.variables[t.path] = name
			if err := setText(t.field, text, dir); err != nil {
				l.problem(t.path, t.path+": "+err.Error())
			}
			continue
		}
		if list := within(lists, name); list != "" {
			l.add(Problem{Variable: name, Message: "unknown variable; " + list + " is a list, which only the file can hold"})
			continue
		}
		if !hasAnyPrefix(name, sections) {
			continue
		}
		message := "unknown variable"
		if near := nearest(name, names); near != "" {
			message += "; did you mean " + strings.ToUpper(near) + "?"
		}
		l.add(Problem{Variable: name, Message: message})
	}
}

// proxies are the variables that net/http asks for a proxy. One that it cannot read it shows in its errors, with the
// password: they would go to the log and to the fleet.
var proxies = []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"}

// isProxy tells whether net/http can read a proxy's address, which may lack the scheme.
func isProxy(text string) bool {
	_, err := url.Parse(text)
	if err != nil {
		_, err = url.Parse("http://" + text)
	}
	return err == nil
}

// within gives the list that the variable tries to reach into, or "".
func within(lists []string, name string) string {
	for _, path := range lists {
		if v := variable(path); name == v || strings.HasPrefix(name, v+"_") {
			return path
		}
	}
	return ""
}

func hasAnyPrefix(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}
