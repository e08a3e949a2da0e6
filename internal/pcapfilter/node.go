package pcapfilter

import "golang.org/x/net/bpf"

// nodeKind is the kind of a node.
type nodeKind uint8

const (
	constant    nodeKind = iota // value
	test                        // code, then cond
	conjunction                 // a, and if that holds, b
	disjunction                 // a, and if that does not hold, b
	negation                    // of a
)

// A node is a condition on packets. It is evaluated from left to right and no further
// than its outcome needs, as a load from beyond the packet's end rejects the packet
// whatever else may hold.
type node struct {
	kind  nodeKind
	value bool
	a, b  *node

	code []bpf.Instruction // leaves in register A, and X, what is compared
	cond bpf.JumpTest
	with uint32
	useX bool // compare with X instead
}

func always(value bool) *node { return &node{kind: constant, value: value} }

// and leaves out what is decided already, but never what is evaluated before.
func and(a, b *node) *node {
	if a.kind == constant {
		if a.value {
			return b
		}
		return a
	}
	return &node{kind: conjunction, a: a, b: b}
}

func or(a, b *node) *node {
	if a.kind == constant {
		if a.value {
			return a
		}
		return b
	}
	if b.kind == constant && !b.value {
		return a
	}
	return &node{kind: disjunction, a: a, b: b}
}

func not(a *node) *node {
	if a.kind == constant {
		return always(!a.value)
	}
	return &node{kind: negation, a: a}
}

// farIndex is the largest index that a load with a computed index may have; larger ones
// are beyond the end of every packet, and would overflow an int on small machines.
const farIndex = 0xffff

// A load with a computed index is preceded by this mark, which the assembler turns into
// a test of A.
type boundsCheck struct{ bpf.RawInstruction }

// assemble makes a program of a node. It goes backwards, so that the distance of every
// jump is known when it is written.
func assemble(n *node) ([]bpf.Instruction, error) {
	var a assembler
	a.reject = a.emit(bpf.RetConstant{})
	a.accept = a.emit(bpf.RetConstant{Val: accept})
	a.enter(a.node(n, a.accept, a.reject))
	if len(a.code) > maxProgram {
		return nil, errTooLong
	}
	program := make([]bpf.Instruction, len(a.code))
	for i, ins := range a.code {
		program[len(program)-1-i] = ins
	}
	return program, nil
}

// An assembler holds a program that is written from its end to its beginning. Positions
// count from the end.
type assembler struct {
	code           []bpf.Instruction
	accept, reject int
}

func (a *assembler) emit(ins bpf.Instruction) (position int) {
	a.code = append(a.code, ins)
	return len(a.code)
}

// enter makes position the first instruction.
func (a *assembler) enter(position int) int {
	if position == len(a.code) {
		return position
	}
	return a.emit(bpf.Jump{Skip: uint32(len(a.code) - position)})
}

// near returns position, or that of a jump to it, if it is too far for a conditional
// jump which is written once room more instructions have been.
func (a *assembler) near(position, room int) int {
	const maxSkip = 255
	if len(a.code)+room-position <= maxSkip {
		return position
	}
	return a.emit(bpf.Jump{Skip: uint32(len(a.code) - position)})
}

// node writes the code that goes to yes if n holds and to no if it does not, and returns
// its position.
func (a *assembler) node(n *node, yes, no int) int {
	if len(a.code) > maxProgram {
		return yes // it will be refused
	}
	switch n.kind {
	case constant:
		if n.value {
			return yes
		}
		return no
	case conjunction:
		return a.node(n.a, a.node(n.b, yes, no), no)
	case disjunction:
		return a.node(n.a, yes, a.node(n.b, yes, no))
	case negation:
		return a.node(n.a, no, yes)
	}
	yes, no = a.near(yes, 1), a.near(no, 0)
	position := a.test(n, yes, no)
	for i := len(n.code) - 1; i >= 0; i-- {
		if _, ok := n.code[i].(boundsCheck); ok {
			far := a.near(a.reject, 0)
			position = a.emit(bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: farIndex, SkipTrue: uint8(len(a.code) - far), SkipFalse: a.skip(position)})
			continue
		}
		position = a.emit(n.code[i])
	}
	return position
}

// skip returns how many instructions a jump written now passes over.
func (a *assembler) skip(position int) uint8 { return uint8(len(a.code) - position) }

func (a *assembler) test(n *node, yes, no int) int {
	if n.useX {
		return a.emit(bpf.JumpIfX{Cond: n.cond, SkipTrue: a.skip(yes), SkipFalse: a.skip(no)})
	}
	return a.emit(bpf.JumpIf{Cond: n.cond, Val: n.with, SkipTrue: a.skip(yes), SkipFalse: a.skip(no)})
}
