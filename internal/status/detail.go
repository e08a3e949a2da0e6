package status

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// A named number of the detail.
type named struct {
	name  string
	value float64
}

// numbers returns the numbers in one member of the detail, by name.
func numbers(detail json.RawMessage, member string) (list []named) {
	var all map[string]json.RawMessage
	if json.Unmarshal(detail, &all) != nil {
		return nil
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(all[member], &members) != nil {
		return nil
	}
	for name, raw := range members {
		var v float64
		if json.Unmarshal(raw, &v) == nil {
			list = append(list, named{name, v})
		}
	}
	slices.SortFunc(list, func(a, b named) int { return strings.Compare(a.name, b.name) })
	return list
}

// explanations returns what the detail explains: its members whose names begin with
// Explain or Why, with where they are, one per line.
func explanations(detail json.RawMessage) (lines []string) {
	var v any
	if json.Unmarshal(detail, &v) != nil {
		return nil
	}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, name := range []string{"Peer", "Name"} {
				if s, ok := v[name].(string); ok && s != "" {
					at = strings.TrimPrefix(at+", "+strings.ToLower(name)+" "+s, ", ")
					break
				}
			}
			names := make([]string, 0, len(v))
			for name := range v {
				names = append(names, name)
			}
			slices.Sort(names)
			for _, name := range names {
				if strings.HasPrefix(name, "Explain") || strings.HasPrefix(name, "Why") {
					lines = append(lines, explain(at, v[name])...)
					continue
				}
				walk(at, v[name])
			}
		case []any:
			for _, x := range v {
				walk(at, x)
			}
		}
	}
	walk("", v)
	return lines
}

// explain renders one explanation, whatever its form.
func explain(at string, v any) (lines []string) {
	if at != "" {
		at += ": "
	}
	switch v := v.(type) {
	case nil:
	case string:
		if v != "" {
			lines = append(lines, at+v)
		}
	case []any:
		for _, x := range v {
			lines = append(lines, explain(strings.TrimSuffix(at, ": "), x)...)
		}
	default:
		text, _ := json.Marshal(v)
		lines = append(lines, fmt.Sprintf("%s%s", at, text))
	}
	return lines
}
