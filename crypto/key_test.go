package crypto

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/curve25519"
)

// The key pair of RFC 7748, section 6.1.
func TestPublic(t *testing.T) {
	k := PrivateKey(mustHex(t, "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"))
	const want = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
	if got := k.Public(); hex.EncodeToString(got[:]) != want {
		t.Errorf("%x, want %s", got[:], want)
	}
}

func TestGenerate(t *testing.T) {
	a, b := GeneratePrivateKey(), GeneratePrivateKey()
	psk1, psk2 := GeneratePresharedKey(), GeneratePresharedKey()
	if a == b || psk1 == psk2 {
		t.Error("two keys are the same")
	}
	if a[0]&7 != 0 || a[31]&0x80 != 0 || a[31]&0x40 == 0 {
		t.Errorf("not clamped: first byte %02x, last byte %02x", a[0], a[31])
	}
	if a.IsZero() || a.Public().IsZero() || psk1.IsZero() {
		t.Error("a key is zero")
	}
}

func TestTextRoundTrip(t *testing.T) {
	private, psk := GeneratePrivateKey(), GeneratePresharedKey()
	if got, err := ParsePrivateKey(private.EncodeText()); got != private || err != nil {
		t.Error("private key", err)
	}
	if got, err := ParsePublicKey(private.Public().String()); got != private.Public() || err != nil {
		t.Error("public key", err)
	}
	if got, err := ParsePresharedKey(psk.EncodeText()); got != psk || err != nil {
		t.Error("preshared key", err)
	}
	var fromText struct {
		Private PrivateKey
		Public  PublicKey
		Psk     PresharedKey
	}
	text := fmt.Sprintf(`{"Private":%q,"Public":%q,"Psk":%q}`, private.EncodeText(), private.Public(), psk.EncodeText())
	if err := json.Unmarshal([]byte(text), &fromText); err != nil || fromText.Private != private || fromText.Public != private.Public() || fromText.Psk != psk {
		t.Error("UnmarshalText", err)
	}
	if text, err := private.Public().MarshalText(); err != nil || string(text) != private.Public().EncodeText() {
		t.Errorf("MarshalText of a public key: %s, %v", text, err)
	}
}

func TestParseKeyRefuses(t *testing.T) {
	good := GeneratePrivateKey().EncodeText()
	for _, test := range []struct{ name, text, want string }{
		{"empty", "", "it is empty"},
		{"short", base64.StdEncoding.EncodeToString(make([]byte, 31)), "want 44 characters for 32 bytes, have 44 for 31"},
		{"long", base64.StdEncoding.EncodeToString(make([]byte, 33)), "have 44 for 33"},
		{"much too long", base64.StdEncoding.EncodeToString(make([]byte, 64)), "have 88 for 64"},
		{"hexadecimal", strings.Repeat("0f", 32), "have 64 for 48"},
		{"a character missing", good[1:], "want 44 characters, have 43"},
		{"URL base64", "_" + good[1:], "not standard base64 at character 1"},
		{"without padding", good[:43], "want 44 characters, have 43"},
		{"space before", " " + good, "want 44 characters, have 45"},
		{"space inside", good[:10] + " " + good[11:], "at character 11"},
		{"newline after", good + "\n", "want 44 characters for 32 bytes, have 45"},
		{"newline inside", good[:10] + "\n" + good[11:], "not standard base64"},
		{"bits set that mean nothing", good[:42] + "B=", "not standard base64"},
		{"zero", base64.StdEncoding.EncodeToString(make([]byte, 32)), "all zero"},
	} {
		_, err1 := ParsePrivateKey(test.text)
		_, err2 := ParsePublicKey(test.text)
		_, err3 := ParsePresharedKey(test.text)
		for kind, err := range map[string]error{"private": err1, "public": err2, "preshared": err3} {
			if err == nil {
				t.Errorf("%s: the %s key is accepted", test.name, kind)
				continue
			}
			if !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), kind+" key") {
				t.Errorf("%s: %q does not say %q", test.name, err, test.want)
			}
			if test.text != "" && strings.Contains(err.Error(), test.text) {
				t.Errorf("%s: %q shows the key", test.name, err)
			}
		}
	}
}

// lowOrderPoints returns all encodings of the points whose order divides 8.
func lowOrderPoints(t *testing.T) (points []PublicKey) {
	for _, s := range []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		p := PublicKey(mustHex(t, s))
		points = append(points, p)
		p[31] |= 0x80
		points = append(points, p)
	}
	return points
}

func TestLowOrder(t *testing.T) {
	scalar := GeneratePrivateKey()
	for _, p := range lowOrderPoints(t) {
		if _, err := curve25519.X25519(scalar[:], p[:]); err == nil {
			t.Fatalf("%x is not of low order", p[:])
		}
		if !p.lowOrder() {
			t.Errorf("%x is not seen as of low order", p[:])
		}
		if _, err := ParsePublicKey(p.EncodeText()); err == nil {
			t.Errorf("%x is accepted as a public key", p[:])
		}
		// Each bit counts: the neighbours are other points.
		for i := range 255 {
			q := p
			q[i/8] ^= 1 << (i % 8)
			_, err := curve25519.X25519(scalar[:], q[:])
			if (err != nil) != q.lowOrder() {
				t.Errorf("%x: lowOrder is %v, X25519 says %v", q[:], q.lowOrder(), err)
			}
			if i > 20 && i < 240 {
				break
			}
		}
	}
}

// TestSecretsAreNotPrinted prints all that holds a key in all ways that are easy to
// take by accident, and looks for the key in all forms that these could give it.
func TestSecretsAreNotPrinted(t *testing.T) {
	private, psk := GeneratePrivateKey(), GeneratePresharedKey()
	cfg := HandshakeConfig{Key: private, Peer: GeneratePrivateKey().Public(), Preshared: psk, Network: "home"}
	initiator, err := NewInitiator(cfg)
	if err != nil {
		t.Fatal(err)
	}
	responder, err := NewResponder(cfg)
	if err != nil {
		t.Fatal(err)
	}
	secrets, _ := newTestSecrets(t)
	send, recv := secrets.send, secrets.recv
	sealer, opener := newTestPair(t, ChaCha20Poly1305)

	var forms []string
	for _, k := range [][]byte{private[:], psk[:], send[:], recv[:]} {
		for _, part := range [][]byte{k, k[:8], k[16:24]} {
			numbers := strings.Trim(fmt.Sprint(part), "[]")
			forms = append(forms, string(part), hex.EncodeToString(part), strings.ToUpper(hex.EncodeToString(part)),
				numbers, strings.ReplaceAll(numbers, " ", ","), strings.ReplaceAll(numbers, " ", ", "),
				fmt.Sprintf("%o", part), fmt.Sprintf("%b", part), fmt.Sprintf("%#v", part)[7:], fmt.Sprintf("% x", part))
		}
		forms = append(forms, base64.StdEncoding.EncodeToString(k)[:20])
	}
	for _, value := range []any{
		private, &private, psk, &psk, cfg, &cfg, []PrivateKey{private}, map[string]PresharedKey{"k": psk},
		initiator, responder, secrets, struct{ S *Secrets }{secrets}, sealer, opener, *secrets, *initiator, *responder,
	} {
		var outputs []string
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "% x", "%c", "%U", "%T"} {
			outputs = append(outputs, fmt.Sprintf(verb, value))
		}
		outputs = append(outputs, fmt.Sprint(value), fmt.Sprintln(value), fmt.Errorf("with %v", value).Error())
		var b bytes.Buffer
		for _, h := range []slog.Handler{slog.NewJSONHandler(&b, nil), slog.NewTextHandler(&b, nil)} {
			slog.New(h).Info("message", "value", value, slog.Group("group", "value", value))
		}
		outputs = append(outputs, b.String())
		text, _ := json.Marshal(value)
		outputs = append(outputs, string(text))
		for _, out := range outputs {
			if i := slices.IndexFunc(forms, func(f string) bool { return strings.Contains(out, f) }); i >= 0 {
				t.Errorf("%T: %.200q shows a key", value, out)
			}
		}
	}
	if private.String() == "" || psk.GoString() != psk.String() || (PresharedKey{}).String() == psk.String() {
		t.Error("String does not say whether there is a key")
	}
}
