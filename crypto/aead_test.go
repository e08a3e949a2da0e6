package crypto

import (
	"bytes"
	"errors"
	"testing"
)

// Published vectors whose nonces have the form that packets give them: 4 zero bytes and
// a counter.
func TestAEADVectors(t *testing.T) {
	for _, test := range []struct {
		name                       string
		aead                       AEAD
		key, ad, plain, ciphertext string
		counter                    uint64
	}{
		{
			name: "RFC 8439, A.5", aead: ChaCha20Poly1305, counter: 0x0102030405060708,
			key: "1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0",
			ad:  "f33388860000000000004e91",
			plain: "496e7465726e65742d4472616674732061726520647261667420646f63756d656e74732076616c696420666f722061206d6178696d756d" +
				"206f6620736978206d6f6e74687320616e64206d617920626520757064617465642c207265706c616365642c206f72206f62736f6c6574" +
				"6564206279206f7468657220646f63756d656e747320617420616e792074696d652e20497420697320696e617070726f70726961746520" +
				"746f2075736520496e7465726e65742d447261667473206173207265666572656e6365206d6174657269616c206f7220746f2063697465" +
				"207468656d206f74686572207468616e206173202fe2809c776f726b20696e2070726f67726573732e2fe2809d",
			ciphertext: "64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb24c6cfc18755d43eea09ee94e382d26b0bdb7b73c" +
				"321b0100d4f03b7f355894cf332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c8559797a06ef4f0ef61c18632" +
				"4e2b3506383606907b6a7c02b0f9f6157b53c867e4b9166c767b804d46a59b5216cde7a4e99040c5a40433225ee282a1b0a06c523eaf45" +
				"34d7f83fa1155b0047718cbc546a0d072b04b3564eea1b422273f548271a0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073" +
				"a6727627097a1049e617d91d361094fa68f0ff77987130305beaba2eda04df997b714d6c6f2c29a6ad5cb4022b02709b" +
				"eead9d67890cbb22392336fea1851f38",
		},
		{
			name: "GCM specification, test case 13", aead: AES256GCM,
			key:        "0000000000000000000000000000000000000000000000000000000000000000",
			ciphertext: "530f8afbc74536b9a963b4f1c4cb738b",
		},
		{
			name: "GCM specification, test case 14", aead: AES256GCM,
			key:        "0000000000000000000000000000000000000000000000000000000000000000",
			plain:      "00000000000000000000000000000000",
			ciphertext: "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919",
		},
	} {
		c, err := test.aead.new((*[32]byte)(mustHex(t, test.key)))
		if err != nil {
			t.Fatal(err)
		}
		plain, ciphertext, ad := mustHex(t, test.plain), mustHex(t, test.ciphertext), mustHex(t, test.ad)
		s, o := Sealer{aead: c, counter: test.counter}, newOpener(c)
		if got, err := s.Seal(nil, plain, ad); err != nil || !bytes.Equal(got, ciphertext) {
			t.Errorf("%s: sealed %x, %v", test.name, got, err)
		}
		if got, err := o.Open(nil, ciphertext, ad, test.counter); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: opened %x, %v", test.name, got, err)
		}
	}
}

func TestChoose(t *testing.T) {
	for _, test := range []struct {
		a, b uint8
		want AEAD
	}{
		{1, 1, ChaCha20Poly1305}, {3, 1, ChaCha20Poly1305}, {1, 3, ChaCha20Poly1305}, {3, 3, AES256GCM}, {2, 2, AES256GCM},
		{0xff, 0xff, AES256GCM}, {0xfd, 0xff, ChaCha20Poly1305}, {2, 3, AES256GCM}, {1, 2, 0}, {0, 3, 0}, {0, 0, 0}, {0xfc, 0xfc, 0},
	} {
		got, err := Choose(test.a, test.b)
		if got != test.want || (err != nil) != (test.want == 0) || err != nil && !errors.Is(err, ErrNoAEAD) {
			t.Errorf("Choose(%#x, %#x) = %v, %v, want %v", test.a, test.b, got, err, test.want)
		}
	}
}

func TestChosen(t *testing.T) {
	for _, test := range []struct {
		mask, offered uint8
		want          AEAD
	}{
		{1, 3, ChaCha20Poly1305}, {2, 3, AES256GCM}, {1, 1, ChaCha20Poly1305},
		{2, 1, 0}, {3, 3, 0}, {0, 3, 0}, {4, 0xff, 0}, {0x80, 0xff, 0}, {1, 0, 0}, {5, 5, 0},
	} {
		got, err := Chosen(test.mask, test.offered)
		if got != test.want || (err != nil) != (test.want == 0) || err != nil && !errors.Is(err, ErrNoAEAD) {
			t.Errorf("Chosen(%#x, %#x) = %v, %v, want %v", test.mask, test.offered, got, err, test.want)
		}
	}
}

func TestSupported(t *testing.T) {
	mask := Supported()
	if mask&ChaCha20Poly1305.Bit() == 0 || mask&^3 != 0 || (mask&AES256GCM.Bit() != 0) != hasAES() {
		t.Errorf("%#x", mask)
	}
	if ChaCha20Poly1305.Bit() != 1 || AES256GCM.Bit() != 2 {
		t.Error("the bits of the wire format moved")
	}
	if ChaCha20Poly1305.String() != "ChaCha20-Poly1305" || AES256GCM.String() != "AES-256-GCM" {
		t.Error("names")
	}
	if ChaCha20Poly1305.PacketLimit() != 1<<60 || AES256GCM.PacketLimit() != 1<<28 {
		t.Error("limits")
	}
}
