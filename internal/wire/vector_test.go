package wire

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

type vector struct {
	name     string
	input    []byte
	want     []string
	err      string
	reencode bool
}

func readVectors(t *testing.T, file string) (vectors []vector) {
	t.Helper()
	text, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	for paragraph := range strings.SplitSeq(string(text), "\n\n") {
		v := vector{reencode: true}
		for line := range strings.SplitSeq(strings.TrimSpace(paragraph), "\n") {
			if strings.HasPrefix(line, "#") {
				continue
			}
			key, value, _ := strings.Cut(line, " =")
			value = strings.TrimPrefix(value, " ")
			switch key {
			case "name":
				v.name = value
			case "hex":
				v.input = mustHex(value)
			case "want":
				v.want = append(v.want, value)
			case "error":
				v.err, v.reencode = value, false
			case "reencode":
				v.reencode = value != "no"
			default:
				t.Fatalf("%s: unknown line %q", file, line)
			}
		}
		if v.name != "" {
			vectors = append(vectors, v)
		}
	}
	return vectors
}

var errorNames = map[string]error{
	"truncated": ErrTruncated, "reserved": ErrReserved, "padding": ErrPadding, "length": ErrLength,
	"value": ErrValue, "version": ErrVersion, "kind": ErrKind, "duplicate": ErrDuplicate,
}

// A form is a kind of input: its two decoders, and its encoder.
type form struct {
	file            string
	vectors         int // so that none is lost
	describe, naive func([]byte) ([]string, error)
	reencode        func([]byte) []byte // of an input that the parsers accept
}

func forms() map[string]form {
	return map[string]form{
		"header":    {"header.txt", 3, describeHeader, naiveHeader, reencodeHeader},
		"plaintext": {"frames.txt", 75, describePlaintext, naivePlaintext, reencodePlaintext},
		"handshake": {"handshake.txt", 28, describeHandshake, naiveHandshake, reencodeHandshake},
		"params":    {"params.txt", 46, describeParams, naiveParams, reencodeParams},
	}
}

func reencodeHeader(b []byte) []byte {
	index, counter, _ := ParseHeader(b)
	out := bytes.Clone(b)
	PutHeader(out, index, counter)
	return out
}

func reencodePlaintext(p []byte) (out []byte) {
	for len(p) > 0 {
		f, rest, err := Next(p)
		if err != nil {
			return nil
		}
		p = rest
		switch f.Type {
		case TypeData:
			out = AppendData(out, &f.Data)
		case TypePad:
			out = AppendPad(out, 1+len(f.Body))
		case TypePing:
			v, _ := ParsePing(f.Body)
			out = AppendPing(out, v)
		case TypePong:
			v, _ := ParsePong(f.Body)
			out = AppendPong(out, v)
		case TypeHold:
			v, _ := ParseHold(f.Body)
			out = AppendHold(out, v)
		case TypeFeedback:
			var body []byte
			for in := f.Body; len(in) > 0; {
				var r LinkReport
				in, _ = NextLinkReport(in, &r)
				body = AppendLinkReport(body, &r)
			}
			out = AppendFrame(out, TypeFeedback, body)
		case TypeClose:
			v, _ := ParseClose(f.Body)
			out = AppendClose(out, v)
		default:
			if v, err := ParseRekey(f.Body); f.Type == TypeRekey && err == nil {
				out = AppendRekey(out, &v)
				continue
			}
			if k, v, err := ParseProof(f.Body); f.Type == TypePath && err == nil {
				out = AppendProof(out, k, v)
				continue
			}
			if v, err := ParsePathInfo(f.Body); f.Type == TypePath && err == nil {
				out = AppendPathInfo(out, v)
				continue
			}
			out = AppendFrame(out, f.Type, f.Body)
		}
	}
	return out
}

func reencodeHandshake(b []byte) []byte {
	if m, _, err := ParseInit(b); err == nil {
		return m.Append(nil, nil)
	}
	if m, err := ParseRetry(b); err == nil {
		return m.Append(nil)
	}
	m, _ := ParseResponse(b)
	return m.Append(nil)
}

func reencodeParams(b []byte) []byte {
	p, _ := ParseParams(b)
	return p.Append(nil)
}

func TestVectors(t *testing.T) {
	for name, form := range forms() {
		vectors := readVectors(t, form.file)
		if len(vectors) != form.vectors {
			t.Errorf("%s: %d vectors, want %d", form.file, len(vectors), form.vectors)
		}
		for _, v := range vectors {
			t.Run(name+"/"+v.name, func(t *testing.T) {
				got, err := form.describe(v.input)
				if !slices.Equal(got, v.want) {
					t.Errorf("have %q\nwant %q", got, v.want)
				}
				if want, ok := errorNames[v.err]; v.err != "" && !ok || !errors.Is(err, want) {
					t.Errorf("error %v, want %q", err, v.err)
				}
				naive, err := form.naive(v.input)
				if !slices.Equal(naive, v.want) || (err != nil) != (v.err != "") {
					t.Errorf("naive decoder: %q, %v", naive, err)
				}
				if !v.reencode {
					return
				}
				if again := form.reencode(v.input); !bytes.Equal(again, v.input) {
					t.Errorf("encoded again it is %x", again)
				}
			})
		}
	}
}

// fuzzForm checks that the two decoders agree, and that what is accepted survives
// being encoded again.
func fuzzForm(t *testing.T, form form, b []byte, canonical bool) {
	t.Helper()
	in := bytes.Clone(b)
	got, err := form.describe(b)
	naive, naiveErr := form.naive(b)
	if !slices.Equal(got, naive) || (err != nil) != (naiveErr != nil) {
		t.Fatalf("parsers: %q, %v\nnaive decoder: %q, %v", got, err, naive, naiveErr)
	}
	if !bytes.Equal(in, b) {
		t.Fatal("the input was changed")
	}
	if err != nil {
		return
	}
	again := form.reencode(b)
	if canonical && !bytes.Equal(again, b) {
		t.Fatalf("encoded again it is %x", again)
	}
	if second, err := form.describe(again); err != nil || !slices.Equal(second, got) {
		t.Fatalf("encoded again it means %q, %v; was %q", second, err, got)
	}
}

func FuzzHeader(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		fuzzForm(t, forms()["header"], b, true)
		_, mode, ok := HandshakeType(b)
		_, _, err := ParseInit(b)
		_, err2 := ParseResponse(b)
		if !ok && (err == nil || err2 == nil) || ok && mode > ModePassword {
			t.Fatalf("HandshakeType %v; ParseInit: %v, ParseResponse: %v", ok, err, err2)
		}
	})
}

func FuzzPlaintext(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) { fuzzForm(t, forms()["plaintext"], b, true) })
}

func FuzzHandshake(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) { fuzzForm(t, forms()["handshake"], b, true) })
}

func FuzzParams(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		fuzzForm(t, forms()["params"], b, false)
		if p, err := ParseParams(b); err == nil {
			if err := p.Validate(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func FuzzControl(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte) {
		for typ := TypePing; typ <= TypeHold; typ++ {
			if len(body) > 65535 {
				return
			}
			fuzzForm(t, forms()["plaintext"], AppendFrame(nil, typ, body), true)
		}
	})
}
