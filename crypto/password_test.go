package crypto

import (
	"errors"
	"regexp"
	"strings"
	"testing"
)

func TestPasswordKey(t *testing.T) {
	for _, v := range readVectors(t, "derived.txt", 3) {
		if v.text("password") == "" {
			continue
		}
		k, err := PasswordKey(v.text("password"), v.text("network"))
		if err != nil || k != v.key(t, "key") {
			t.Errorf("%s: %x, %v", v.text("name"), k[:], err)
		}
	}
}

func TestWeakPassword(t *testing.T) {
	for password, weak := range map[string]bool{
		"": true, "secret": true, strings.Repeat("x", 15): true, strings.Repeat("é", 15): true,
		strings.Repeat("x", 16): false, strings.Repeat("é", 16): false,
	} {
		err := CheckPassword(password)
		if errors.Is(err, ErrWeakPassword) != weak || (err != nil) != weak {
			t.Errorf("%q: %v", password, err)
		}
		if err != nil && password != "" && strings.Contains(err.Error(), password) {
			t.Errorf("%q shows the password", err)
		}
		if k, err := PasswordKey(password, ""); weak && (!errors.Is(err, ErrWeakPassword) || !k.IsZero()) {
			t.Errorf("PasswordKey(%q): %v", password, err)
		}
	}
}

func TestGeneratePassword(t *testing.T) {
	form := regexp.MustCompile(`^([0-9a-hjkmnp-tv-z]{4}-){7}[0-9a-hjkmnp-tv-z]{4}$`)
	seen := make(map[string]bool)
	letters := make(map[rune]bool)
	for range 200 {
		p := GeneratePassword()
		if !form.MatchString(p) || seen[p] || CheckPassword(p) != nil {
			t.Fatalf("%q", p)
		}
		seen[p] = true
		for _, c := range p {
			letters[c] = true
		}
	}
	if len(letters) != 33 {
		t.Errorf("%d different characters are used, want 32 and the hyphen", len(letters))
	}
}
