package pcapfilter

import "golang.org/x/net/bpf"

// maxScratch is how many intermediate results a program can hold.
const maxScratch = 16

// An expr is an arithmetic expression.
type expr struct {
	code    []bpf.Instruction // leaves the value in A; empty for a literal
	literal bool
	num     uint32
	checks  *node // what must hold for code to make sense; nil if nothing
	depth   int   // scratch words that code needs
}

func number(n uint32) *expr { return &expr{literal: true, num: n} }

func length() *expr { return &expr{code: []bpf.Instruction{bpf.LoadExtension{Num: bpf.ExtLen}}} }

// load returns code that leaves the value in A.
func (e *expr) load() []bpf.Instruction {
	if e.literal {
		return []bpf.Instruction{bpf.LoadConstant{Dst: bpf.RegA, Val: e.num}}
	}
	return e.code
}

var aluOps = map[string]bpf.ALUOp{
	"+": bpf.ALUOpAdd, "-": bpf.ALUOpSub, "*": bpf.ALUOpMul, "/": bpf.ALUOpDiv, "%": bpf.ALUOpMod,
	"&": bpf.ALUOpAnd, "|": bpf.ALUOpOr, "^": bpf.ALUOpXor, "<<": bpf.ALUOpShiftLeft, ">>": bpf.ALUOpShiftRight,
}

// both returns code that leaves a in A and b in X, first using scratch words from
// scratch on, and how many it uses. a is evaluated first.
func both(a, b *expr) (code []bpf.Instruction, depth int) {
	code = append(code, a.load()...)
	code = append(code, bpf.StoreScratch{Src: bpf.RegA, N: 0})
	for _, ins := range b.load() {
		// What b keeps is shifted by the word that a takes.
		switch x := ins.(type) {
		case bpf.StoreScratch:
			x.N++
			ins = x
		case bpf.LoadScratch:
			x.N++
			ins = x
		}
		code = append(code, ins)
	}
	code = append(code, bpf.TAX{}, bpf.LoadScratch{Dst: bpf.RegA, N: 0})
	return code, max(a.depth, b.depth+1)
}

// combine returns a op b. As with libpcap, only the checks of a are kept.
func combine(op string, a, b *expr) (*expr, string) {
	e := &expr{checks: a.checks}
	if b.literal {
		switch {
		case (op == "/" || op == "%") && b.num == 0:
			return nil, "division by zero"
		case (op == "<<" || op == ">>") && b.num > 31:
			return nil, "shift by more than 31 bits"
		}
		e.code = append(append(e.code, a.load()...), bpf.ALUOpConstant{Op: aluOps[op], Val: b.num})
		e.depth = a.depth
		return e, ""
	}
	e.code, e.depth = both(a, b)
	e.code = append(e.code, bpf.ALUOpX{Op: aluOps[op]})
	if e.depth > maxScratch {
		return nil, "the arithmetic is nested too deeply"
	}
	return e, ""
}

// negative returns -a.
func negative(a *expr) *expr {
	return &expr{
		code: append(append([]bpf.Instruction{}, a.load()...),
			bpf.TAX{}, bpf.LoadConstant{Dst: bpf.RegA}, bpf.ALUOpX{Op: bpf.ALUOpSub}),
		checks: a.checks,
		depth:  a.depth,
	}
}

// relation returns the condition a op b.
func relation(op string, a, b *expr) (*node, string) {
	n := &node{kind: test}
	if b.literal {
		n.code, n.with = a.load(), b.num
	} else {
		var depth int
		if n.code, depth = both(a, b); depth > maxScratch {
			return nil, "the arithmetic is nested too deeply"
		}
		n.useX = true
	}
	negate := false
	switch op {
	case "=", "!=":
		n.cond, negate = bpf.JumpEqual, op == "!="
	case ">", "<=":
		n.cond, negate = bpf.JumpGreaterThan, op == "<="
	case ">=", "<":
		n.cond, negate = bpf.JumpGreaterOrEqual, op == "<"
	}
	r := n
	if negate {
		r = not(r)
	}
	if b.checks != nil {
		r = and(b.checks, r)
	}
	if a.checks != nil {
		r = and(a.checks, r)
	}
	return r, ""
}

// access returns the value of size bytes at an index into the header of proto.
func (g *generator) access(proto string, index *expr, size int) (*expr, string) {
	e := &expr{depth: index.depth, checks: index.checks}
	base := g.network()
	transport := false
	switch proto {
	case "ether":
		base = 0
	case "ip", "ip6", "arp", "rarp":
		e.checks = both2(index.checks, g.proto(proto))
	case "icmp6":
		e.checks = and(both2(index.checks, g.proto("ip6")), g.nextHeader(58))
		base += 40
	default:
		if !g.transport(proto) {
			return nil, "nothing can be read by its place in " + proto + ": count from ip or ip6"
		}
		e.checks = and(g.proto("ip"), both2(index.checks, and(g.abbreviation(proto), g.notFragment())))
		transport = true
	}
	near := index.literal && index.num <= farIndex
	switch {
	case transport && near:
		e.code = []bpf.Instruction{bpf.LoadMemShift{Off: base}, bpf.LoadIndirect{Off: base + index.num, Size: size}}
	case near:
		e.code = []bpf.Instruction{bpf.LoadAbsolute{Off: base + index.num, Size: size}}
	default:
		e.code = append(e.code, index.load()...)
		if transport {
			e.code = append(e.code, bpf.LoadMemShift{Off: base}, bpf.ALUOpX{Op: bpf.ALUOpAdd})
		}
		e.code = append(e.code, boundsCheck{}, bpf.TAX{}, bpf.LoadIndirect{Off: base, Size: size})
	}
	return e, ""
}

// both2 returns a and b, where a may be nil.
func both2(a, b *node) *node {
	if a == nil {
		return b
	}
	return and(a, b)
}
