package status

import (
	"encoding/json"
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
