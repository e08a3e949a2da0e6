// Package pcapfilter compiles packet filters in the syntax of pcap-filter(7), as
// tcpdump and the [filters] section of mlvpn.conf have them, to classic BPF, and runs
// them.
//
// A filter means what libpcap's compiler, without its optimizer, makes of the same
// expression for the same link type, down to the verdict on truncated packets: a load
// from beyond the packet's end rejects it. The programs themselves differ.
//
// Not supported are what makes no sense in a tunnel or needs another's help: host and
// network names (nothing is looked up), "gateway", "protochain", "inbound", "outbound",
// "vlan", "mpls", "pppoes", "geneve", and link layers other than Ethernet. Names of
// services and protocols come from a table that is the same on every system.
package pcapfilter

import (
	"errors"
	"fmt"

	"golang.org/x/net/bpf"
)

// A LinkType says what a packet begins with.
type LinkType uint8

const (
	// Raw is an IP packet without a header before it (DLT_RAW), as TUN devices have.
	Raw LinkType = iota
	// Ethernet is a frame without check sequence (DLT_EN10MB), as TAP devices have.
	Ethernet
)

// A Filter is a compiled expression. It may be used by many goroutines at once.
type Filter struct {
	vm      *bpf.VM
	program []bpf.Instruction
}

const (
	// maxExpression bounds the length of an expression in bytes, and maxDepth how deep
	// its parentheses nest.
	maxExpression = 16 << 10
	maxDepth      = 100
	// maxProgram is the kernel's limit for a program.
	maxProgram = 4096
)

// Compile compiles an expression. The empty expression matches every packet. The error
// says where the expression is wrong and, where that can be guessed, what to write.
func Compile(expression string, link LinkType) (*Filter, error) {
	if len(expression) > maxExpression {
		return nil, fmt.Errorf("the filter is longer than %d characters: split it", maxExpression)
	}
	tokens, err := scan(expression)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens, gen: generator{link: link}}
	n, err := p.parse()
	if err != nil {
		return nil, err
	}
	if n.kind == constant && !n.value {
		return nil, errNothing
	}
	program, err := assemble(n)
	if err != nil {
		return nil, err
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		return nil, fmt.Errorf("the filter's program is refused: %w", err)
	}
	return &Filter{vm, program}, nil
}

// Match reports whether the packet matches. It does not allocate, and borrows pkt until
// it returns.
func (f *Filter) Match(pkt []byte) bool {
	n, err := f.vm.Run(pkt)
	return err == nil && n > 0
}

// Program returns the filter's program, which returns 0 for a packet that does not
// match. It must not be modified.
func (f *Filter) Program() []bpf.Instruction { return f.program }

// accept is what a program returns for a packet that matches: how much of it to keep, as
// libpcap says it.
const accept = 1 << 18

var (
	errNothing = errors.New("the filter matches no packet: there are only IP packets on a TUN device")
	errTooLong = fmt.Errorf("the filter's program is longer than %d instructions: split it", maxProgram)
)

// A SyntaxError is what is wrong with an expression.
type SyntaxError struct {
	Offset int    // in bytes, of the word it is about
	Reason string // in words, with what to write instead
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("character %d of the filter: %s", e.Offset+1, e.Reason)
}
