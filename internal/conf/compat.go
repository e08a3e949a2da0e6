package conf

// checkCompat checks what belongs to the protocol of the C MLVPN.
func (p *parser) checkCompat(c *Config, set map[string]int) {
	compat, accept := set["compat"], set["compat_accept_risk"]
	clear := set["cleartext_data"]
	if c.Compat == "" {
		if accept != 0 && compat == 0 {
			p.warnf(accept, "compat_accept_risk has no effect without compat")
		}
		if c.ClearData {
			p.warnf(clear, "cleartext_data = 1 is ignored: data is always encrypted; write cleartext_data = 0 on both ends or remove the line")
			c.ClearData = false
		}
		return
	}
	if !p.accepted(accept) {
		p.errorf(compat, "compat = \"%s\" speaks the protocol of the C MLVPN, which is not secure: write compat_accept_risk = 1 below it if that is accepted, or remove this line if the other end is no C MLVPN", c.Compat)
	} else {
		p.warnf(compat, "compat = \"%s\" speaks the protocol of the C MLVPN, which is not secure: replace the other end, then remove this line on both", c.Compat)
	}
	if c.ClearData {
		p.warnf(clear, "cleartext_data = 1 lets everybody on the way read and forge what the tunnel carries: write cleartext_data = 0 on both ends")
	}
	for _, key := range []string{"private_key", "network"} {
		if line := set[key]; line != 0 {
			p.errorf(line, "%s does not go with compat = \"%s\": remove one", key, c.Compat)
		}
	}
}

// accepted reports whether the item on a line of [general] is set to 1.
func (p *parser) accepted(line int) bool {
	for _, it := range p.find("general").items {
		if it.line == line && it.value == "1" {
			return true
		}
	}
	return false
}
