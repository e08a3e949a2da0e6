package flow

import "testing"

func TestClass(t *testing.T) {
	data := make([]byte, 1000)
	for _, tt := range []struct {
		name                 string
		pkt                  []byte
		ethernet             bool
		ordered, interactive bool
	}{
		{name: "TCP data", pkt: ip4(6, 0, 0, tcp(443, 5000, ACK, nil, data)), ordered: true},
		{name: "short TCP data", pkt: ip4(6, 0, 0, tcp(22, 5000, ACK|PSH, nil, data[:1])), ordered: true},
		{name: "TCP ACK", pkt: ip4(6, 0, 0, tcp(443, 5000, ACK, make([]byte, 12), nil)), interactive: true},
		{name: "TCP SYN", pkt: ip4(6, 0, 0, tcp(443, 5000, SYN, nil, nil)), interactive: true},
		{name: "TCP SYN with data", pkt: ip4(6, 0, 0, tcp(443, 5000, SYN, nil, data)), ordered: true, interactive: true},
		{name: "TCP RST", pkt: ip4(6, 0, 0, tcp(443, 5000, RST, nil, nil)), interactive: true},
		{name: "TCP FIN", pkt: ip4(6, 0, 0, tcp(443, 5000, FIN|ACK, nil, nil)), ordered: true},
		{name: "broken TCP", pkt: ip4(6, 0, 0, data[:10]), ordered: true},
		{name: "DNS over TCP", pkt: ip4(6, 0, 0, tcp(53, 5000, ACK, nil, data)), ordered: true, interactive: true},
		{name: "DNS", pkt: ip4(17, 0, 0, udp(5000, 53, 40)), interactive: true},
		{name: "large DNS answer", pkt: ip4(17, 0, 0, udp(53, 5000, 1000)), ordered: true, interactive: true},
		{name: "DNS over TLS", pkt: ip6(6, 0, tcp(5000, 853, ACK, nil, data)), ordered: true, interactive: true},
		{name: "UDP of 299 bytes", pkt: ip4(17, 0, 0, udp(443, 5000, 271)), interactive: true},
		{name: "UDP of 300 bytes", pkt: ip4(17, 0, 0, udp(443, 5000, 272)), ordered: true},
		{name: "UDP with EF", pkt: ip4(17, 46<<2, 0, udp(443, 5000, 1000)), ordered: true, interactive: true},
		{name: "UDP with CS5", pkt: ip4(17, 40<<2, 0, udp(443, 5000, 1000)), ordered: true, interactive: true},
		{name: "UDP with AF43", pkt: ip4(17, 38<<2, 0, udp(443, 5000, 1000)), ordered: true},
		{name: "ICMP", pkt: ip4(1, 0, 0, data), interactive: true},
		{name: "ICMPv6", pkt: ip6(58, 0, data), interactive: true},
		{name: "ICMP fragment", pkt: ip4(1, 0, 0x2000, data), interactive: true},
		{name: "short UDP fragment", pkt: ip4(17, 0, 1, data[:16]), ordered: true},
		{name: "ESP", pkt: ip4(50, 0, 0, data), ordered: true},
		{name: "short GRE", pkt: ip4(47, 0, 0, data[:60]), interactive: true},
		{name: "ARP", pkt: frame(0x0806, false, make([]byte, 28)), ethernet: true, interactive: true},
	} {
		f, ok := Parse(tt.pkt, tt.ethernet)
		if !ok {
			t.Errorf("%s: not parsed", tt.name)
		}
		if f.Ordered() != tt.ordered || f.Interactive() != tt.interactive {
			t.Errorf("%s: ordered %v, interactive %v, want %v, %v", tt.name, f.Ordered(), f.Interactive(), tt.ordered, tt.interactive)
		}
	}
}
