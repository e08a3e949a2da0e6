package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/multilink-vpn/multilink/internal/netcfg"
)

// tables returns our tables and the fingerprints of their contents. The fingerprint is
// the name of an empty chain, and counts only while no rule is missing.
func tables() (map[string]string, error) {
	found := make(map[string]string)
	c, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", explain(err))
	}
	all, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPROTONOSUPPORT) {
			return found, nil // a kernel without nftables: setting a table says so
		}
		return nil, fmt.Errorf("list nftables tables: %w", explain(err))
	}
	var chains []*nftables.Chain
	for _, t := range all {
		if !strings.HasPrefix(t.Name, netcfg.TableName("")) {
			continue
		}
		found[t.Name] = ""
		if chains == nil {
			if chains, err = c.ListChainsOfTableFamily(nftables.TableFamilyINet); err != nil {
				return nil, fmt.Errorf("list nftables chains: %w", err)
			}
		}
		var print, rules string
		counts := ""
		for _, ch := range chains {
			if ch.Table.Name != t.Name {
				continue
			}
			if ch.Hooknum == nil {
				print, rules, _ = strings.Cut(ch.Name, "_")
				continue
			}
			r, err := c.GetRules(t, ch)
			if err != nil {
				// It is being changed; what changes it makes us look again.
				continue
			}
			counts += fmt.Sprintf("%s%d", ch.Name, len(r))
		}
		if counts == rules {
			found[t.Name] = print
		}
	}
	return found, nil
}

// setTable puts the table in place of the one of that name, in one step.
func setTable(n *netcfg.NFT) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	t := &nftables.Table{Name: n.Name, Family: nftables.TableFamilyINet}
	c.AddTable(t) // so that there is one to remove
	c.DelTable(t)
	c.AddTable(t)
	counts := ""
	for _, chain := range n.Chains {
		hook, err := hookOf(chain.Hook)
		if err != nil {
			return err
		}
		priority := nftables.ChainPriority(chain.Priority)
		ch := c.AddChain(&nftables.Chain{
			Name: chain.Name, Table: t, Type: nftables.ChainType(chain.Type), Hooknum: hook, Priority: &priority,
		})
		for _, r := range chain.Rules {
			c.AddRule(&nftables.Rule{Table: t, Chain: ch, Exprs: exprs(r)})
		}
		counts += fmt.Sprintf("%s%d", chain.Name, len(chain.Rules))
	}
	c.AddChain(&nftables.Chain{Name: n.Fingerprint() + "_" + counts, Table: t})
	return c.Flush()
}

func delTable(name string) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	c.DelTable(&nftables.Table{Name: name, Family: nftables.TableFamilyINet})
	return c.Flush()
}

func hookOf(name string) (*nftables.ChainHook, error) {
	switch name {
	case "prerouting":
		return nftables.ChainHookPrerouting, nil
	case "output":
		return nftables.ChainHookOutput, nil
	case "forward":
		return nftables.ChainHookForward, nil
	case "postrouting":
		return nftables.ChainHookPostrouting, nil
	}
	return nil, fmt.Errorf("no hook %q", name)
}

// host puts a number into the byte order of marks and states.
func host(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

func cmp(op expr.CmpOp, data []byte) expr.Any {
	return &expr.Cmp{Op: op, Register: 1, Data: data}
}

// exprs compiles a rule.
func exprs(r netcfg.NFTRule) []expr.Any {
	e := matches(r)
	switch {
	case r.SetCT:
		e = append(e, &expr.Ct{Key: expr.CtKeyMARK, Register: 1}, merge(r))
		return append(e, &expr.Ct{Key: expr.CtKeyMARK, Register: 1, SourceRegister: true})
	case r.SetMark:
		e = append(e, &expr.Meta{Key: expr.MetaKeyMARK, Register: 1}, merge(r))
		return append(e, &expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true})
	case r.SNAT.IsValid():
		family := uint32(unix.NFPROTO_IPV4)
		if r.SNAT.Is6() {
			family = unix.NFPROTO_IPV6
		}
		return append(e,
			&expr.Immediate{Register: 1, Data: r.SNAT.AsSlice()},
			&expr.NAT{Type: expr.NATTypeSourceNAT, Family: family, RegAddrMin: 1})
	case r.Masquerade:
		return append(e, &expr.Masq{})
	case r.ClampRoute:
		return append(e,
			&expr.Rt{Register: 1, Key: expr.RtTCPMSS},
			&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 2, Size: 2},
			mss(&expr.Exthdr{SourceRegister: 1}))
	case r.MSS != 0:
		limit := binary.BigEndian.AppendUint16(nil, r.MSS)
		return append(e,
			mss(&expr.Exthdr{DestRegister: 1}),
			cmp(expr.CmpOpGt, limit),
			&expr.Immediate{Register: 1, Data: limit},
			mss(&expr.Exthdr{SourceRegister: 1}))
	}
	return e
}

// merge sets the bits of a mark that are ours.
func merge(r netcfg.NFTRule) expr.Any {
	return &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: host(^r.MarkMask), Xor: host(r.Mark)}
}

// mss is the value of TCP's option 2, RFC 9293, section 3.7.1.
func mss(e *expr.Exthdr) expr.Any {
	e.Type, e.Offset, e.Len, e.Op = 2, 2, 2, expr.ExthdrOpTcpopt
	return e
}

func matches(r netcfg.NFTRule) (e []expr.Any) {
	if f := familyOf(r); f != 0 {
		e = append(e, &expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, cmp(expr.CmpOpEq, []byte{f}))
	}
	for _, m := range []struct {
		key  expr.MetaKey
		name string
	}{{expr.MetaKeyIIFNAME, r.IIF}, {expr.MetaKeyOIFNAME, r.OIF}} {
		if m.name != "" {
			name := make([]byte, unix.IFNAMSIZ)
			copy(name, m.name)
			e = append(e, &expr.Meta{Key: m.key, Register: 1}, cmp(expr.CmpOpEq, name))
		}
	}
	if r.Src.IsValid() {
		e = append(e, address(r.Src.Is4(), 12, 8), cmp(expr.CmpOpNeq, r.Src.AsSlice()))
	}
	if r.Dst.IsValid() {
		e = append(e, address(r.Dst.Is4(), 16, 24), cmp(expr.CmpOpEq, r.Dst.AsSlice()))
	}
	if r.NextHop.IsValid() {
		key := expr.RtNexthop4
		if r.NextHop.Is6() {
			key = expr.RtNexthop6
		}
		e = append(e, &expr.Rt{Register: 1, Key: key}, cmp(expr.CmpOpEq, r.NextHop.AsSlice()))
	}
	if r.New {
		e = append(e, &expr.Ct{Key: expr.CtKeySTATE, Register: 1},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: host(expr.CtStateBitNEW), Xor: host(0)},
			cmp(expr.CmpOpNeq, host(0)))
	}
	if r.Direction != "" {
		direction := byte(0)
		if r.Direction == "reply" {
			direction = 1
		}
		e = append(e, &expr.Ct{Key: expr.CtKeyDIRECTION, Register: 1}, cmp(expr.CmpOpEq, []byte{direction}))
	}
	if r.CTMask != 0 {
		e = append(e, &expr.Ct{Key: expr.CtKeyMARK, Register: 1},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: host(r.CTMask), Xor: host(0)},
			cmp(expr.CmpOpEq, host(r.CTMark)))
	}
	if r.Unmarked {
		e = append(e, &expr.Meta{Key: expr.MetaKeyMARK, Register: 1}, cmp(expr.CmpOpEq, host(0)))
	}
	if r.SYN {
		const syn, rst = 2, 4
		e = append(e,
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, cmp(expr.CmpOpEq, []byte{unix.IPPROTO_TCP}),
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{syn | rst}, Xor: []byte{0}},
			cmp(expr.CmpOpEq, []byte{syn}))
	}
	return e
}

// familyOf returns the family that a rule's fields are of, or 0.
func familyOf(r netcfg.NFTRule) byte {
	switch r.Family {
	case netcfg.V4:
		return unix.NFPROTO_IPV4
	case netcfg.V6:
		return unix.NFPROTO_IPV6
	}
	return 0
}

// address loads an address of the network header, at the offset for the family.
func address(is4 bool, offset4, offset6 uint32) expr.Any {
	p := &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset4, Len: 4}
	if !is4 {
		p.Offset, p.Len = offset6, 16
	}
	return p
}
