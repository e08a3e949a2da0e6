package conf

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A value is the typed value of one item. Which fields are set depends on the type of
// the key.
type value struct {
	text     string
	num      uint64
	addr     netip.Addr
	prefix   netip.Prefix
	prefixes []netip.Prefix
}

// value reads it as a value of k's type and notes what is wrong with it.
func (p *parser) value(k *Key, it item) (v value, ok bool) {
	v.text = it.value
	switch k.Type {
	case Number, Flag, Port:
		v.num, ok = p.number(k, it)
	case Choice:
		ok = slices.Contains(k.Choices, it.value)
		if !ok {
			p.badChoice(k, it)
		}
	case Host:
		ok = validHost(it.value)
		if !ok {
			p.errorf(it.line, "%s is not an IP address or a host name: write for example %s", shown(k, it), k.line())
		}
	case Path:
		ok = strings.HasPrefix(it.value, "/")
		if !ok {
			p.errorf(it.line, "%s is not an absolute path: write for example %s", shown(k, it), k.line())
		}
	case Device:
		ok = validDevice(it.value)
		if !ok {
			p.errorf(it.line, "%s is not the name of an interface (at most 15 letters, digits and . _ -): write for example %s", shown(k, it), k.line())
		}
	case Address:
		v.addr, ok = p.address(k, it)
	case Prefix:
		v.prefix, ok = p.prefix(k, it)
	case Prefixes:
		v.prefixes, ok = p.prefixes(k, it)
	default:
		ok = true
	}
	if ok && !it.quoted {
		p.checkQuotes(k, it)
	}
	return v, ok
}

// checkQuotes warns about a text that is not in quotes.
func (p *parser) checkQuotes(k *Key, it item) {
	switch k.Type {
	case Number, Flag, Port:
		return
	}
	as := `"` + it.value + `"`
	if k.Secret {
		as = `"..."`
	}
	if it.loose() != it.value {
		p.warnf(it.line, "blanks outside quotes are deleted: write %s = %s", k.Name, as)
		return
	}
	p.warnf(it.line, "a text belongs in quotes: write %s = %s", k.Name, as)
}

// shown is the key with its value, for messages.
func shown(k *Key, it item) string {
	if k.Secret {
		return it.key
	}
	return it.key + " = " + it.raw
}

func (p *parser) number(k *Key, it item) (uint64, bool) {
	low, high, unit := k.Min, k.Max, ""
	switch k.Type {
	case Flag:
		high = 1
	case Port:
		low, high = 1, 65535
	}
	if k.Unit != "" {
		unit = " (" + k.Unit + ")"
	}
	n, err := strconv.ParseUint(it.value, 10, 64)
	switch {
	case k.Zero && err == nil && n == 0:
	case k.Type == Flag && (err != nil || n > 1):
		p.errorf(it.line, "%s must be 0 or 1: write %s", shown(k, it), flagLine(k, it.value))
		return 0, false
	case err != nil && !allDigits(it.value):
		p.errorf(it.line, "%s must be a whole number%s: write for example %s", shown(k, it), unit, k.line())
		return 0, false
	case err != nil || n > high || n < low:
		switch {
		case k.Max == neverAbove:
			p.errorf(it.line, "%s is too large: write for example %s", shown(k, it), k.line())
		case k.Zero:
			p.errorf(it.line, "%s must be %d to %d%s, or 0: write for example %s", shown(k, it), low, high, unit, k.line())
		default:
			p.errorf(it.line, "%s must be %d to %d%s: write for example %s", shown(k, it), low, high, unit, k.line())
		}
		return 0, false
	}
	return n, true
}

// flagLine is the line that someone who wrote word as a flag probably meant.
func flagLine(k *Key, word string) string {
	switch strings.ToLower(word) {
	case "no", "false", "off", "n":
		return k.Name + " = 0"
	}
	return k.Name + " = 1"
}

func allDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func (p *parser) badChoice(k *Key, it item) {
	var lines []string
	for _, c := range k.Choices {
		lines = append(lines, k.Name+` = "`+c+`"`)
	}
	p.errorf(it.line, "%s is not possible: write %s", shown(k, it), strings.Join(lines, " or "))
}

// family reports whether a is of the key's family.
func (k *Key) family(a netip.Addr) bool { return a.Is4() == (k.Family == 4) && a.Zone() == "" }

// otherKey is the key for the other address family.
func (k *Key) otherKey() string {
	if k.Family == 4 {
		return strings.Replace(k.Name, "ip4", "ip6", 1)
	}
	return strings.Replace(k.Name, "ip6", "ip4", 1)
}

func (p *parser) address(k *Key, it item) (netip.Addr, bool) {
	a, err := netip.ParseAddr(it.value)
	if err != nil {
		if pfx, err := netip.ParsePrefix(it.value); err == nil {
			p.errorf(it.line, "%s must have no prefix length: write %s = \"%s\"", shown(k, it), k.Name, pfx.Addr())
			return a, false
		}
		p.errorf(it.line, "%s is not an IPv%d address: write for example %s", shown(k, it), k.Family, k.line())
		return a, false
	}
	return a, p.checkAddr(k, it, a)
}

// checkAddr notes when a is of the wrong family or cannot be a host's address.
func (p *parser) checkAddr(k *Key, it item, a netip.Addr) bool {
	switch {
	case !k.family(a) && a.Zone() == "" && !a.Is4In6():
		p.errorf(it.line, "%s is not an IPv%d address: write %s for it", shown(k, it), k.Family, k.otherKey())
	case !k.family(a):
		p.errorf(it.line, "%s is not a plain IPv%d address: write for example %s", shown(k, it), k.Family, k.line())
	case a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		p.errorf(it.line, "%s cannot be the address of one end of a tunnel: write for example %s", shown(k, it), k.line())
	default:
		return true
	}
	return false
}

func (p *parser) prefix(k *Key, it item) (netip.Prefix, bool) {
	pfx, err := netip.ParsePrefix(it.value)
	if err != nil {
		a, err := netip.ParseAddr(it.value)
		if err != nil {
			p.errorf(it.line, "%s is not an IPv%d address with a prefix length: write for example %s", shown(k, it), k.Family, k.line())
			return pfx, false
		}
		if !p.checkAddr(k, it, a) {
			return pfx, false
		}
		pfx = netip.PrefixFrom(a, a.BitLen())
		p.warnf(it.line, "%s has no prefix length: taken as %s; write for example %s", shown(k, it), pfx, k.line())
		return pfx, true
	}
	if !p.checkAddr(k, it, pfx.Addr()) {
		return pfx, false
	}
	if pfx.Bits() == 0 {
		p.errorf(it.line, "%s covers every address: write the length of the tunnel's own prefix, for example %s", shown(k, it), k.line())
		return pfx, false
	}
	if k.Family == 4 && pfx.Bits() < 31 && (pfx.Addr() == pfx.Masked().Addr() || pfx.Addr() == broadcast(pfx)) {
		p.warnf(it.line, "%s is the network's own or its broadcast address: use one in between", shown(k, it))
	}
	return pfx, true
}

// broadcast returns the last address of an IPv4 prefix.
func broadcast(pfx netip.Prefix) netip.Addr {
	b := pfx.Addr().As4()
	for i := pfx.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}

func (p *parser) prefixes(k *Key, it item) ([]netip.Prefix, bool) {
	if !it.quoted && it.loose() != it.value {
		p.errorf(it.line, "blanks outside quotes are deleted: write %s = \"%s\"", k.Name, it.loose())
		return nil, false
	}
	var list []netip.Prefix
	ok := true
	for _, word := range strings.Fields(it.value) {
		pfx, err := netip.ParsePrefix(word)
		if a, aerr := netip.ParseAddr(word); aerr == nil && a.Zone() == "" {
			pfx, err = netip.PrefixFrom(a, a.BitLen()), nil
		} else if word == "default" {
			pfx, err = netip.PrefixFrom(netip.IPv4Unspecified(), 0), nil
			if k.Family == 6 {
				pfx = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
			}
		}
		switch {
		case err != nil:
			p.errorf(it.line, "%q in %s is not an IPv%d network: write networks separated by blanks, for example %s", word, it.key, k.Family, k.line())
			ok = false
		case !k.family(pfx.Addr()):
			p.errorf(it.line, "%q in %s is not an IPv%d network: write %s for it", word, it.key, k.Family, k.otherKey())
			ok = false
		case slices.Contains(list, pfx.Masked()):
			p.warnf(it.line, "%q is in %s twice", word, it.key)
		default:
			if pfx != pfx.Masked() {
				p.warnf(it.line, "%q in %s is an address inside a network: taken as %s", word, it.key, pfx.Masked())
			}
			list = append(list, pfx.Masked())
		}
	}
	return list, ok
}

// validHost reports whether s is an IP address, with or without a zone, or has the
// form of a host name (RFC 1123, section 2.1, and underscores).
func validHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	if allDigits(strings.ReplaceAll(s, ".", "")) {
		return false // a misspelt IPv4 address
	}
	s = strings.TrimSuffix(s, ".")
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, nameChars+"-") != "" {
			return false
		}
	}
	return true
}

const nameChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

// validDevice reports whether s can be the name of a network interface and is safe as
// an argument of a script.
func validDevice(s string) bool {
	return s != "" && len(s) <= 15 && s != "." && s != ".." && s[0] != '-' &&
		strings.Trim(s, nameChars+".-") == ""
}
