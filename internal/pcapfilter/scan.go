package pcapfilter

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// tokenKind is the kind of a word or sign.
type tokenKind uint8

const (
	tokEnd     tokenKind = iota
	tokKeyword           // text is the keyword, in its first spelling
	tokSign              // text is the sign
	tokNumber            // num
	tokName              // text
	tokAddr4             // text: two to four numbers with dots between them
	tokAddr6             // addr
	tokMAC               // mac
)

type token struct {
	kind   tokenKind
	text   string
	num    uint32
	addr   netip.Addr
	mac    [6]byte
	offset int
	match  int // of "(": the index of the token that closes it
}

// signs lists them, longer ones first.
var signs = []string{"&&", "||", "!=", "==", "<=", ">=", "<<", ">>",
	"(", ")", "[", "]", ":", "+", "-", "*", "/", "%", "&", "|", "^", "!", "=", "<", ">"}

// scan splits an expression into tokens, of which the last is tokEnd.
func scan(s string) ([]token, error) {
	var tokens []token
	var open []int
	for i := 0; ; {
		for i < len(s) && strings.IndexByte(" \t\r\n", s[i]) >= 0 {
			i++
		}
		if i == len(s) {
			break
		}
		t, n, err := next(s, i)
		if err != nil {
			return nil, err
		}
		t.offset = i
		i += n
		if t.kind == tokSign && t.text == "(" {
			open = append(open, len(tokens))
			if len(open) > maxDepth {
				return nil, &SyntaxError{t.offset, fmt.Sprintf("parentheses nest deeper than %d", maxDepth)}
			}
		}
		if t.kind == tokSign && t.text == ")" {
			if len(open) == 0 {
				return nil, &SyntaxError{t.offset, "this ) closes nothing"}
			}
			tokens[open[len(open)-1]].match = len(tokens)
			open = open[:len(open)-1]
		}
		tokens = append(tokens, t)
	}
	if len(open) > 0 {
		return nil, &SyntaxError{tokens[open[len(open)-1]].offset, "this ( is not closed"}
	}
	return append(tokens, token{kind: tokEnd, offset: len(s)}), nil
}

// next reads the token at s[i:] and returns its length.
func next(s string, i int) (token, int, error) {
	if t, n, ok := colons(s[i:]); ok {
		return t, n, nil
	}
	for _, sign := range signs {
		if strings.HasPrefix(s[i:], sign) {
			switch sign {
			case "&&":
				return token{kind: tokKeyword, text: "and"}, 2, nil
			case "||":
				return token{kind: tokKeyword, text: "or"}, 2, nil
			case "!":
				return token{kind: tokKeyword, text: "not"}, 1, nil
			case "==":
				return token{kind: tokSign, text: "="}, 2, nil
			}
			return token{kind: tokSign, text: sign}, len(sign), nil
		}
	}
	escaped := s[i] == '\\'
	rest := s[i:]
	if escaped {
		rest = rest[1:]
	}
	n := wordLength(rest)
	if n == 0 {
		return token{}, 0, &SyntaxError{i, fmt.Sprintf("the character %q has no meaning here", s[i])}
	}
	word := rest[:n]
	if escaped {
		return token{kind: tokName, text: word}, n + 1, nil
	}
	t, err := classify(word, i)
	return t, n, err
}

// wordLength returns the length of the word that s begins with: letters, digits, and
// the signs . - _ between them.
func wordLength(s string) (n int) {
	for i := range len(s) {
		switch c := s[i]; {
		case isAlnum(c):
			n = i + 1
		case c == '.' && i > 0:
			n = i + 1
		case (c == '-' || c == '_') && i > 0:
		default:
			return n
		}
	}
	return n
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// colons reads an IPv6 address, or an Ethernet address with colons.
func colons(s string) (token, int, bool) {
	n := 0
	for n < len(s) && (isHex(s[n]) || s[n] == ':' || s[n] == '.') {
		n++
	}
	word := s[:n]
	if strings.Count(word, ":") < 2 || n < len(s) && isAlnum(s[n]) {
		return token{}, 0, false
	}
	if mac, ok := parseMAC(word, ":", 1); ok {
		return token{kind: tokMAC, mac: mac}, n, true
	}
	if a, err := netip.ParseAddr(word); err == nil && a.Is6() {
		return token{kind: tokAddr6, addr: a}, n, true
	}
	return token{}, 0, false
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// parseMAC reads six bytes in groups of size bytes in hexadecimal.
func parseMAC(s, separator string, size int) (mac [6]byte, ok bool) {
	groups := strings.Split(s, separator)
	if len(groups) != 6/size {
		return mac, false
	}
	for i, g := range groups {
		if len(g) > 2*size || size > 1 && len(g) < 2*size {
			return mac, false
		}
		n, err := strconv.ParseUint(g, 16, 8*size)
		if err != nil {
			return mac, false
		}
		for j := range size {
			mac[i*size+j] = byte(n >> (8 * (size - 1 - j)))
		}
	}
	return mac, true
}

// classify says what a word is.
func classify(word string, offset int) (token, error) {
	if k, ok := keywords[word]; ok {
		return token{kind: tokKeyword, text: k}, nil
	}
	if n, ok := constants[word]; ok {
		return token{kind: tokNumber, num: n}, nil
	}
	if mac, ok := parseMAC(word, "-", 1); ok {
		return token{kind: tokMAC, mac: mac}, nil
	}
	if mac, ok := parseMAC(word, ".", 2); ok {
		return token{kind: tokMAC, mac: mac}, nil
	}
	if isNumber(word) {
		n, err := strconv.ParseUint(word, 0, 32)
		if err != nil {
			return token{}, &SyntaxError{offset, word + " is no number below 2^32"}
		}
		return token{kind: tokNumber, num: uint32(n)}, nil
	}
	if dots := strings.Count(word, "."); dots >= 1 && dots <= 3 && strings.Trim(word, "0123456789.") == "" && !strings.Contains(word+".", "..") {
		return token{kind: tokAddr4, text: word}, nil
	}
	return token{kind: tokName, text: word}, nil
}

// isNumber reports whether a word is one in decimal, octal or hexadecimal, valid or not.
func isNumber(word string) bool {
	if hex, ok := strings.CutPrefix(strings.ToLower(word), "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(word, "0123456789") == ""
}

// parts reads the one to four numbers of an IPv4 address that may be short, such as
// 192.168. bits is how many bits they stand for.
func parts(s string) (addr uint32, bits int, ok bool) {
	for part := range strings.SplitSeq(s, ".") {
		n, err := strconv.ParseUint(part, 10, 8)
		if err != nil || bits == 32 {
			return 0, 0, false
		}
		addr, bits = addr<<8|uint32(n), bits+8
	}
	return addr, bits, true
}
