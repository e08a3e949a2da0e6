package pcapfilter

import "fmt"

// arithmetic reports whether what comes next is a comparison of numbers.
func (p *parser) arithmetic() bool {
	t := p.peek()
	switch {
	case t.is(tokKeyword, "len"), t.is(tokSign, "-"):
		return true
	case t.kind == tokNumber:
		return operator(p.ahead(1))
	case t.kind == tokKeyword:
		return p.ahead(1).is(tokSign, "[")
	case t.is(tokSign, "("):
		return operator(&p.tokens[t.match+1])
	}
	return false
}

// operator reports whether t takes a number on its left.
func operator(t *token) bool {
	if t.kind != tokSign {
		return false
	}
	_, op := aluOps[t.text]
	return op || compares(t)
}

func compares(t *token) bool { return t.is(tokSign, "=", "!=", "<", "<=", ">", ">=") }

func (p *parser) relation() *node {
	a := p.arith()
	op := p.next()
	if !compares(op) {
		return p.fail(op, fmt.Sprintf("%s is not expected here: write a comparison, such as = or >", op))
	}
	b := p.arith()
	if p.err != nil {
		return always(false)
	}
	n, why := relation(op.text, a, b)
	if why != "" {
		return p.fail(op, why)
	}
	return n
}

// precedence of the operators. libpcap's grammar gives none to % and ^: see arith.
var precedence = map[string]int{"|": 1, "&": 2, "<<": 3, ">>": 3, "+": 4, "-": 4, "*": 5, "/": 5}

// pending is an operator that waits for its right side. A unary minus has no left.
type pending struct {
	op   *token
	left *expr
}

// arith reads an arithmetic expression the way libpcap's parser does: what was read is
// combined when the operator behind it binds no tighter than the one before it, except
// that % and ^ are never combined before what follows them, nor is anything before
// them: a % b + c is a % (b + c).
func (p *parser) arith() *expr {
	if p.depth++; p.depth > maxDepth {
		p.fail(p.peek(), "this is nested too deeply")
		return number(0)
	}
	defer func() { p.depth-- }()
	var stack []pending
	for {
		for p.peek().is(tokSign, "-") {
			stack = append(stack, pending{op: p.next()})
			if len(stack) > maxDepth {
				p.fail(p.peek(), "this is nested too deeply")
			}
		}
		right := p.operand()
		if p.err != nil {
			return number(0)
		}
		t := p.peek()
		_, more := aluOps[t.text]
		more = more && t.kind == tokSign
		for len(stack) > 0 {
			top := stack[len(stack)-1]
			if more && binds(t, top) {
				break
			}
			right = p.combine(top, right)
			stack = stack[:len(stack)-1]
		}
		if p.err != nil || !more {
			return right
		}
		p.at++
		stack = append(stack, pending{t, right})
		if len(stack) > maxDepth {
			p.fail(t, "this is nested too deeply")
		}
	}
}

// binds reports whether the operator t comes before the one that waits.
func binds(t *token, waiting pending) bool {
	is := precedence[t.text]
	if is == 0 {
		return true
	}
	if waiting.left == nil {
		return false
	}
	was := precedence[waiting.op.text]
	return was == 0 || is > was
}

func (p *parser) combine(waiting pending, right *expr) *expr {
	if waiting.left == nil {
		return negative(right)
	}
	e, why := combine(waiting.op.text, waiting.left, right)
	if why != "" {
		p.fail(waiting.op, why)
		return number(0)
	}
	return e
}

// operand reads a number, len, a place in a header, or an expression in parentheses.
func (p *parser) operand() *expr {
	t := p.next()
	switch {
	case t.kind == tokNumber:
		return number(t.num)
	case t.is(tokKeyword, "len"):
		return length()
	case t.is(tokSign, "("):
		e := p.arith()
		if !p.accept(tokSign, ")") {
			p.failAt(p.peek(), "%s is not expected here: write )", p.peek())
		}
		return e
	case t.kind == tokKeyword && p.peek().is(tokSign, "["):
		return p.place(t)
	}
	p.failAt(t, "%s is not expected here: write a number, len, or a place in a header such as ip[9]", t)
	return number(0)
}

// place reads what follows the name of a protocol: [index] or [index:size].
func (p *parser) place(proto *token) *expr {
	p.at++
	index := p.arith()
	size := uint32(1)
	if p.accept(tokSign, ":") {
		t := p.next()
		if t.kind != tokNumber {
			p.failAt(t, "write the number of bytes behind the colon: 1, 2 or 4")
		}
		size = t.num
		if p.err == nil && size != 1 && size != 2 && size != 4 {
			p.failAt(t, "%d bytes cannot be read at once: 1, 2 or 4 can", size)
		}
	}
	if !p.accept(tokSign, "]") {
		p.failAt(p.peek(), "%s is not expected here: write ]", p.peek())
	}
	if p.err != nil {
		return number(0)
	}
	if !networks[proto.text] && protocols[proto.text] == 0 {
		p.failAt(proto, "%q is not a protocol whose header can be read", proto.text)
		return number(0)
	}
	e, why := p.gen.access(proto.text, index, int(size))
	if why != "" {
		p.failAt(proto, "%s", why)
		return number(0)
	}
	return e
}
