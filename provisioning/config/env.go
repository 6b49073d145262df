package config

import (
	"reflect"
	"strings"
)

// envPrefix begins the variables that override the file: SIDETONE_<SECTION>_<KEY>.
const envPrefix = "SIDETONE_"

// variable gives the name of the environment variable for section.key.
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
	for _, section := range fields(reflect.ValueOf(l.config).Elem()) {
		sections = append(sections, variable(section.key)+"_")
		if section.Kind() == reflect.Slice {
			lists = append(lists, section.key)
			continue
		}
		for _, f := range fields(section.Value) {
			path := section.key + "." + f.key
			if f.isScalar() {
				targets[variable(path)] = target{path, f}
				names = append(names, strings.ToLower(variable(path)))
			} else {
				lists = append(lists, path)
			}
		}
	}
	for _, entry := range environ {
		name, text, _ := strings.Cut(entry, "=")
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
