package crypto

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

// A vector is a paragraph of a file in testdata: "key = value" lines. A key may repeat.
type vector map[string][]string

func (v vector) text(key string) string {
	if len(v[key]) == 0 {
		return ""
	}
	return v[key][0]
}

func (v vector) bytes(t *testing.T, key string) []byte {
	t.Helper()
	return mustHex(t, v.text(key))
}

func (v vector) key(t *testing.T, key string) [KeySize]byte {
	t.Helper()
	return [KeySize]byte(v.bytes(t, key))
}

func mustHex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// readVectors returns the vectors of a file, which are n.
func readVectors(t *testing.T, file string, n int) (vectors []vector) {
	t.Helper()
	text, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	for paragraph := range strings.SplitSeq(string(text), "\n\n") {
		v := make(vector)
		for line := range strings.SplitSeq(strings.TrimSpace(paragraph), "\n") {
			if key, value, ok := strings.Cut(line, " ="); ok && !strings.HasPrefix(line, "#") {
				v[key] = append(v[key], strings.TrimPrefix(value, " "))
			}
		}
		if v.text("name") != "" {
			vectors = append(vectors, v)
		}
	}
	if len(vectors) != n {
		t.Fatalf("%s: %d vectors, want %d", file, len(vectors), n)
	}
	return vectors
}
