package pcapfilter

import (
	"fmt"
	"net/netip"
	"strings"
)

// id reads one name, number or address and returns what q makes of it.
func (p *parser) id(q qualifiers) *node {
	t := p.next()
	switch t.kind {
	case tokNumber:
		return p.number(t, q)
	case tokName:
		return p.name(t, q)
	case tokAddr4:
		return p.addr4(t, q)
	case tokAddr6:
		return p.addr6(t, q)
	case tokMAC:
		switch {
		case q.proto != "ether" || q.kind != kindHost && q.kind != kindAny:
			return p.fail(t, "an Ethernet address goes with ether host, ether src or ether dst")
		case p.gen.link != Ethernet:
			return p.fail(t, "a TUN device has no Ethernet addresses")
		}
		return p.gen.mac(t.mac, q.dir)
	case tokKeyword:
		if q.kind == kindProto {
			return p.fail(t, fmt.Sprintf("write \\%s: the name of a protocol that is a keyword, too, needs a backslash", t.text))
		}
	}
	return p.fail(t, fmt.Sprintf("%s is not expected here: write a name, number or address", t))
}

// number gives a number its meaning.
func (p *parser) number(t *token, q qualifiers) *node {
	switch q.kind {
	case kindPort, kindPortRange:
		return p.ports(t, q, t.num, t.num, []string{"sctp", "tcp", "udp"})
	case kindProto:
		return p.proto(t, q, t.num)
	case kindNet:
		addr, mask := t.num, ^uint32(0)
		for addr != 0 && addr>>24 == 0 {
			addr, mask = addr<<8, mask<<8
		}
		return p.host4(t, q, addr, mask)
	}
	return p.host4(t, q, t.num, ^uint32(0))
}

// name gives a name its meaning.
func (p *parser) name(t *token, q qualifiers) *node {
	switch q.kind {
	case kindPort:
		if s, ok := services[t.text]; ok {
			return p.ports(t, q, uint32(s.port), uint32(s.port), s.protos(q.proto))
		}
		return p.fail(t, fmt.Sprintf("the service %q is not known: write its port number", t.text))
	case kindPortRange:
		return p.portRange(t, q)
	case kindProto:
		if q.proto == "ether" {
			if n, ok := etherTypes[t.text]; ok {
				return p.proto(t, q, n)
			}
		} else if n, ok := protocolNames[t.text]; ok {
			return p.proto(t, q, n)
		}
		return p.fail(t, fmt.Sprintf("the protocol %q is not known: write its number", t.text))
	case kindNet:
		return p.fail(t, fmt.Sprintf("names of networks are not looked up: write the network that %q is, such as 192.168.0.0/16", t.text))
	}
	if near := nearest(t.text); near != "" {
		return p.fail(t, fmt.Sprintf("%q is not an address: is it %q?", t.text, near))
	}
	return p.fail(t, fmt.Sprintf("names of hosts are not looked up: write the address of %q", t.text))
}

// portRange reads two ports with a - between them.
func (p *parser) portRange(t *token, q qualifiers) *node {
	first, last, ok := strings.Cut(t.text, "-")
	if !ok {
		return p.fail(t, "write two ports with a - between them, such as 5000-5100")
	}
	protos := []string{"sctp", "tcp", "udp"}
	port := func(s string) (n uint32) {
		if s, ok := services[s]; ok {
			protos = s.protos(q.proto)
			return uint32(s.port)
		}
		if _, err := fmt.Sscanf(s, "%d", &n); err != nil || fmt.Sprint(n) != s {
			p.failAt(t, "%q in a range of ports is not known: write numbers, such as 5000-5100", s)
		}
		return n
	}
	low, high := port(first), port(last)
	if low > high {
		low, high = high, low
	}
	return p.ports(t, q, low, high, protos)
}

func (p *parser) ports(t *token, q qualifiers, low, high uint32, protos []string) *node {
	switch q.proto {
	case "":
	case "tcp", "udp", "sctp":
		if !contains(protos, q.proto) {
			return p.fail(t, fmt.Sprintf("the service %q does not use %s: write its port number", t.text, q.proto))
		}
		protos = []string{q.proto}
	default:
		return p.fail(t, fmt.Sprintf("%s has no ports: tcp, udp and sctp have", q.proto))
	}
	if high > 65535 {
		return p.fail(t, fmt.Sprintf("there is no port %d: the highest is 65535", high))
	}
	return p.gen.ports(low, high, protos, q.dir)
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

func (p *parser) proto(t *token, q qualifiers, n uint32) *node {
	switch q.proto {
	case "":
		return or(p.gen.ipProto(n), p.gen.ip6Proto(n))
	case "ip":
		return p.gen.ipProto(n)
	case "ip6":
		return p.gen.ip6Proto(n)
	case "ether":
		if p.gen.link == Ethernet && oddTypes[n] {
			return p.fail(t, fmt.Sprintf("the protocol %#x is not supported", n))
		}
		return p.gen.etherType(n)
	}
	return p.fail(t, fmt.Sprintf("%s proto has no meaning: write proto, ip proto, ip6 proto or ether proto", q.proto))
}

// addr4 reads an IPv4 address, which may be short, and a mask, if one follows.
func (p *parser) addr4(t *token, q qualifiers) *node {
	addr, bits, ok := parts(t.text)
	if !ok {
		return p.fail(t, t.text+" is no IPv4 address")
	}
	addr <<= 32 - bits
	mask := ^uint32(0) << (32 - bits)
	m := p.peek()
	switch {
	case p.accept(tokSign, "/"):
		n := p.next()
		if n.kind != tokNumber || n.num > 32 {
			return p.fail(n, "write the length of the network's prefix, 0 to 32, behind the /")
		}
		mask = ^uint32(0) << (32 - n.num)
	case p.accept(tokKeyword, "mask"):
		n := p.next()
		value, bits, ok := parts(n.text)
		if n.kind != tokAddr4 || !ok {
			return p.fail(n, "write the mask, such as 255.255.255.0, behind mask")
		}
		mask = value << (32 - bits)
	default:
		return p.host4(t, q, addr, mask)
	}
	switch {
	case q.kind != kindNet:
		return p.fail(m, "a mask goes with net only: write net instead of host")
	case addr&^mask != 0:
		return p.fail(t, fmt.Sprintf("%s is not the first address of that network: write %s", t.text, dotted(addr&mask)))
	}
	return p.host4(t, q, addr, mask)
}

func dotted(a uint32) string {
	return netip.AddrFrom4([4]byte{byte(a >> 24), byte(a >> 16), byte(a >> 8), byte(a)}).String()
}

func (p *parser) host4(t *token, q qualifiers, addr, mask uint32) *node {
	if why := q.noAddress("ip", "arp", "rarp"); why != "" {
		return p.fail(t, why)
	}
	return p.gen.host4(addr, mask, q.proto, q.dir)
}

// noAddress says why an address of a protocol among allowed does not go with q.
func (q *qualifiers) noAddress(allowed ...string) string {
	if q.proto != "" && !contains(allowed, q.proto) {
		return fmt.Sprintf("%s does not go with this address: write %s host, or join two conditions with and", q.proto, allowed[0])
	}
	switch q.kind {
	case kindPort, kindPortRange, kindProto:
		return fmt.Sprintf("an address is no %s", q.kind)
	}
	return ""
}

// addr6 reads an IPv6 address and the length of a prefix, if one follows.
func (p *parser) addr6(t *token, q qualifiers) *node {
	if why := q.noAddress("ip6"); why != "" {
		return p.fail(t, why)
	}
	bits := uint32(128)
	if p.accept(tokSign, "/") {
		n := p.next()
		if n.kind != tokNumber || n.num > 128 {
			return p.fail(n, "write the length of the network's prefix, 0 to 128, behind the /")
		}
		bits = n.num
		if bits != 128 && q.kind != kindNet {
			return p.fail(n, "a mask goes with net only: write net instead of host")
		}
	}
	prefix := netip.PrefixFrom(t.addr, int(bits))
	if first := prefix.Masked().Addr(); first != t.addr {
		return p.fail(t, fmt.Sprintf("%s is not the first address of that network: write %s", t.addr, first))
	}
	return p.gen.host6(prefix, q.dir)
}
