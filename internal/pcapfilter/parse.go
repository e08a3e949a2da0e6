package pcapfilter

import (
	"fmt"
	"slices"

	"golang.org/x/net/bpf"
)

// direction says which of a packet's two addresses or ports is meant.
type direction uint8

const (
	dirAny direction = iota
	dirSrc
	dirDst
	dirBoth
)

// kind says what a name or number is.
type kind string

const (
	kindAny       kind = ""
	kindHost      kind = "host"
	kindNet       kind = "net"
	kindPort      kind = "port"
	kindPortRange kind = "portrange"
	kindProto     kind = "proto"
)

// qualifiers say what a name or number that follows stands for.
type qualifiers struct {
	valid bool // there are any
	proto string
	dir   direction
	kind  kind
}

// A parser reads tokens by recursive descent. A method that fails sets err and returns
// anything.
type parser struct {
	tokens []token
	at     int
	depth  int
	gen    generator
	err    error
}

func (p *parser) parse() (*node, error) {
	if p.peek().kind == tokEnd {
		return always(true), nil
	}
	n := p.expression(&qualifiers{})
	if t := p.peek(); p.err == nil && t.kind != tokEnd {
		p.failAt(t, "%s is not expected here: write and or or before it", t)
	}
	return n, p.err
}

func (p *parser) peek() *token { return &p.tokens[min(p.at, len(p.tokens)-1)] }

// ahead returns the token that is n after the next.
func (p *parser) ahead(n int) *token { return &p.tokens[min(p.at+n, len(p.tokens)-1)] }

func (p *parser) next() *token {
	t := p.peek()
	p.at++
	return t
}

func (t *token) is(kind tokenKind, texts ...string) bool {
	return t.kind == kind && slices.Contains(texts, t.text)
}

func (t *token) String() string {
	switch t.kind {
	case tokEnd:
		return "the end"
	case tokNumber:
		return "a number"
	case tokAddr6, tokMAC:
		return "an address"
	}
	return fmt.Sprintf("%q", t.text)
}

// accept takes the next token if it is this.
func (p *parser) accept(kind tokenKind, text string) bool {
	if !p.peek().is(kind, text) {
		return false
	}
	p.at++
	return true
}

func (p *parser) failAt(t *token, format string, args ...any) {
	if p.err == nil {
		p.err = &SyntaxError{t.offset, fmt.Sprintf(format, args...)}
	}
}

// fail notes what is wrong at a token, if anything is, and returns a node to go on with.
func (p *parser) fail(t *token, why string) *node {
	p.failAt(t, "%s", why)
	return always(false)
}

// expression reads terms joined by and and or, which bind alike, from the left. q is
// what a bare name or number stands for; it is set to what the last term said.
func (p *parser) expression(q *qualifiers) *node {
	if p.depth++; p.depth > maxDepth {
		return p.fail(p.peek(), "this is nested too deeply")
	}
	defer func() { p.depth-- }()
	n := p.term(q)
	for p.err == nil {
		switch {
		case p.accept(tokKeyword, "and"):
			n = and(n, p.term(q))
		case p.accept(tokKeyword, "or"):
			n = or(n, p.term(q))
		default:
			return n
		}
	}
	return n
}

func (p *parser) term(q *qualifiers) *node {
	negate := false
	for p.accept(tokKeyword, "not") {
		negate = !negate
	}
	n := p.positive(q)
	if negate {
		n = not(n)
	}
	return n
}

// positive reads a term without not before it.
func (p *parser) positive(q *qualifiers) *node {
	t := p.peek()
	switch {
	case p.arithmetic():
		*q = qualifiers{}
		return p.relation()
	case t.is(tokSign, "("):
		p.at++
		inner := *q // what was said before the parenthesis goes for what follows it
		n := p.expression(&inner)
		if !p.accept(tokSign, ")") {
			p.failAt(p.peek(), "%s is not expected here: write and, or or )", p.peek())
		}
		return n
	case t.kind == tokKeyword:
		return p.primitive(q)
	case t.kind == tokEnd:
		return p.fail(t, "the filter ends too early")
	case t.kind == tokSign:
		return p.fail(t, fmt.Sprintf("%s is not expected here", t))
	case !q.valid:
		return p.fail(t, p.bare(t))
	}
	return p.id(*q)
}

// bare says what is wrong with a name or number that nothing explains.
func (p *parser) bare(t *token) string {
	switch t.kind {
	case tokAddr4, tokAddr6:
		return "say what this address is: host, src host, dst host, net, ..."
	case tokMAC:
		return "say what this address is: ether host, ether src, ..."
	case tokName:
		if unsupported[t.text] {
			return fmt.Sprintf("%q is not supported", t.text)
		}
		if near := nearest(t.text); near != "" {
			return fmt.Sprintf("%q is not known: is it %q?", t.text, near)
		}
		return fmt.Sprintf("%q is not known", t.text)
	}
	return "say what this number is: port, net, proto, ..."
}

// primitive reads qualifiers and what they qualify, or a keyword that is a primitive by
// itself.
func (p *parser) primitive(q *qualifiers) *node {
	first := p.peek()
	*q = qualifiers{}
	said := qualifiers{valid: true}
	if networks[first.text] || protocols[first.text] != 0 {
		said.proto = first.text
		p.at++
	}
	switch t := p.peek(); {
	case t.is(tokKeyword, "broadcast", "multicast"):
		p.at++
		return p.group(t, said.proto)
	case said.proto == "" && t.is(tokKeyword, "less", "greater"):
		p.at++
		return p.lengthIs(t)
	}
	directed := p.direction(&said)
	switch t := p.peek(); {
	case t.is(tokKeyword, "host", "net", "port", "portrange"):
		said.kind = kind(t.text)
		p.at++
	case t.is(tokKeyword, "proto") && !directed:
		said.kind = kindProto
		p.at++
	case directed:
	case said.proto == "ether":
		return p.fail(first, "ether needs more: host, src, dst, proto, multicast or a place as in ether[0]")
	case said.proto != "":
		return p.gen.abbreviation(said.proto)
	default:
		return p.fail(t, fmt.Sprintf("%s is not expected here", t))
	}
	*q = said
	return p.ids(said)
}

// direction reads src, dst, or both with and or or between them.
func (p *parser) direction(q *qualifiers) bool {
	t := p.peek()
	if !t.is(tokKeyword, "src", "dst") {
		return false
	}
	p.at++
	q.dir = dirSrc
	if t.text == "dst" {
		q.dir = dirDst
	}
	op, other := p.peek(), p.ahead(1)
	if op.is(tokKeyword, "and", "or") && other.is(tokKeyword, "src", "dst") && other.text != t.text {
		p.at += 2
		q.dir = dirAny
		if op.text == "and" {
			q.dir = dirBoth
		}
	}
	return true
}

// ids reads what follows qualifiers: a name or number, or several in parentheses.
func (p *parser) ids(q qualifiers) *node {
	negate := false
	for p.accept(tokKeyword, "not") {
		negate = !negate
	}
	var n *node
	if p.accept(tokSign, "(") {
		n = p.expression(&q)
		if !p.accept(tokSign, ")") {
			p.failAt(p.peek(), "%s is not expected here: write and, or or )", p.peek())
		}
	} else {
		n = p.id(q)
	}
	if negate {
		n = not(n)
	}
	return n
}

func (p *parser) group(t *token, proto string) *node {
	ethernet := p.gen.link == Ethernet
	switch {
	case proto != "" && proto != "ether" && !(t.text == "multicast" && (proto == "ip" || proto == "ip6")):
		if t.text == "broadcast" && proto == "ip" {
			return p.fail(t, "ip broadcast needs the network's mask, which is not known: write dst host and the address")
		}
		return p.fail(t, fmt.Sprintf("%s has no %s", proto, t.text))
	case proto != "ip" && proto != "ip6" && !ethernet:
		return p.fail(t, "a TUN device has no Ethernet addresses: write ip multicast or ip6 multicast")
	case t.text == "broadcast":
		return p.gen.mac([6]byte{255, 255, 255, 255, 255, 255}, dirDst)
	}
	return p.gen.multicast(proto)
}

func (p *parser) lengthIs(t *token) *node {
	n := p.next()
	if n.kind != tokNumber {
		return p.fail(n, "write the length in bytes after "+t.text)
	}
	if t.text == "less" {
		return not(size(bpf.JumpGreaterThan, n.num))
	}
	return size(bpf.JumpGreaterOrEqual, n.num)
}
