package pcapfilter

// expressions are what the package is compared with libpcap on, for both link types.
func expressions() []string {
	return []string{
		"ip", "ip6", "arp", "rarp", "tcp", "udp", "icmp", "icmp6", "igmp", "sctp", "esp", "ah", "pim", "vrrp", "carp", "igrp",
		"not tcp", "not not udp", "tcp or udp", "tcp and udp or ip6", "ip6 or tcp and udp", "(tcp or udp) and not ip6",
		"not tcp and not udp", "!tcp && !udp || icmp", "not (tcp or udp)", "tcp or (udp and (port 53 or port 5060))",
		"host 10.92.0.1", "src host 10.92.0.1", "dst host 10.92.0.2", "src or dst host 10.92.0.1", "src and dst host 10.92.0.1",
		"dst or src 10.92.0.1", "dst and src net 10.92", "ip host 10.92.0.2", "src 10.92.0.1 or 10.92.0.2", "host 192.168", "host 5",
		"not host 10.92.0.1 and 10.92.0.2", "host not 10.92.0.1", "host (10.92.0.1 or not 10.92.0.2)",
		"ip6 host fd00::1", "host fd00::1 or 10.92.0.1", "src ::1", "dst host ::ffff:1.2.3.4",
		"net 10", "net 10.92", "net 10.92.0.0/30", "src net 10.0.0.0/8", "dst net 192.168.0.0 mask 255.255.0.0", "net 0.0.0.0/0", "net 1.2.3.4/32",
		"net fd00::/8", "src net fe80::/10", "dst net 2001:db8::/33", "ip6 net ::/0", "net ::1",
		"port 53", "tcp port 80", "udp port 5060", "src port 7776", "dst port 7777", "src and dst port 22", "tcp src or dst port 443",
		"port 80 or 443 or 22", "tcp port 80 or 443", "port (80 or not 443)", "port 80 or (443 or 22)", "src host 10.92.0.1 and not (10.92.0.2 or 10.1.2.3)", "port http", "port domain", "udp port sip", "tcp dst port ssh or https",
		"port 5060 or tcp port 7001 and not host 10.92.0.1", "port 0", "port 65535",
		"portrange 5000-6000", "udp portrange 7777-7776", "tcp dst portrange 20-http", "portrange 7001", "src portrange 1024-65535", "udp portrange sip-5061", "portrange 53",
		"proto 17", "ip proto 6", "ip6 proto 58", `ip proto \tcp`, `proto \udp`, "ip proto ospf", "ip proto 300 or ip6", "ip6 proto 44",
		"less 60", "greater 1000", "len <= 100", "len > 60 and len < 1400", "len = 84", "length != 84", "len - 20 >= 64",
		"ip[6:2] & 0x1fff != 0", "ip[6:2] & 0x3fff = 0", "ip[0] & 0xf != 5", "ip[0] >> 4 == 4", "ip[9] = 17", "ip[1] & 0xfc = 0xb8", "ip[8] < 64", "ip[2:2] > 576",
		"ip6[6] = 58", "ip6[0:2] & 0x0ff0 = 0", "ip[010] = 64", "not ip[100:4] = 0", "ip[70000] = 1 or ip6", "ip6 or ip[-1] = 1", "not ip[200] = 0",
		"tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", "tcp[tcpflags] = tcp-syn", "tcp[13] & 2 != 0 and tcp[13] & 16 = 0", "tcp[2:2] = 7001",
		"tcp[((tcp[12] & 0xf0) >> 2):4] != 0x47455420", "tcp[tcpflags] & tcp-push != 0 or udp[4:2] < 100", "tcp[-4:4] = 0x0a5c0002",
		"udp[0:2] = udp[2:2]", "udp[8] = 0x68", "udp[ip[0] & 15] != 1", "udp[4:2] = 20", "udp[4:2] != ip[2:2] - 20",
		"icmp[icmptype] = icmp-echo", "icmp[icmptype] = icmp-echoreply or icmp[0] = 3", "icmp6[icmp6type] = icmp6-echo", "icmp6[0] != 1",
		"ip[0] % 3 + 1 = 2", "ip[0] ^ 3 & 1 = 68", "ip[0] & 3 + 1 = 4", "1 + 2 * 3 = 7", "(1 + 2) * 3 = 9", "10 - 4 - 3 = 3", "16 / 4 / 2 = 2", "1 << 2 + 1 = 8",
		"7 % 4 * 2 = 7", "7 * 4 % 3 = 7", "1 | 6 & 4 = 5", "1 ^ 1 | 2 = 2", "- 1 + 2 = 1", "3 - -1 = 4", "-ip[0] + 100 > 30", "ip6 or ip[0] / (ip[1] - ip[1]) = 0", "len / ip[8] > 3", "ip[0] + tcp[0] > 100", "tcp[0] + 1 > ip[0]", "2 > 1", "1 > 2 or ip",
		"ip[2:2] = len or ip6", "len != ip[2:2]", "ip[16] = 0xe0 and udp", "1 = ip[9]",
		"ip multicast", "ip6 multicast", "ether proto 0x800", `ether proto \ip6`, "ether[0] & 1 = 0", "link[12:2] != 0x800", "ether[len - 1] = 0xfa", "ether[0:4] > 0x45000000",
		"udp and ip[1] & 0xfc == 0xb8 or udp portrange 10000-20000 and less 300 or icmp",
		"src net 10.92.0.0/16 and not (dst port 22 or dst port 7001) and (tcp or udp)",
		"tcp port 22 and tcp[tcpflags] & tcp-syn == 0 and greater 80",
		"",
	}
}

// ethernetExpressions make sense for frames only.
func ethernetExpressions() []string {
	return []string{
		"ether host 02:92:00:00:00:01", "ether src 2:92:0:0:0:1", "ether dst 02-92-00-00-00-02", "ether host 0292.0000.0001", "ether src and dst 2:92:0:0:0:1",
		"ether broadcast", "broadcast", "multicast", "ether multicast", "not multicast",
		"ether proto 0x88cc", `ether proto \arp`, "ether proto 10", "ether proto 0xfe", "ether proto 1500", "ether proto 1501", "ether proto 0xf0",
		"arp host 10.92.0.1", "arp src 10.92.0.1", "rarp host 1.2.3.4", "arp[6:2] = 1", "arp or icmp", "arp net 10.92.0.0/24",
		"host 10.92.0.1 and not arp", "ether[12:2] > 1500",
	}
}

// errors are expressions that neither compiler takes, and a part of what this one says.
func errorExpressions() map[string]string {
	return map[string]string{
		"1.2.3.4":                   "host, src host",
		"ip 1.2.3.4":                "expected",
		"net 10/8":                  "not expected",
		"host 300.1.2.3":            "no IPv4 address",
		"net 10.0.0.1/8":            "write 10.0.0.0",
		"net fe80::1/10":            "write fe80::",
		"net 10.0.0.0/33":           "0 to 32",
		"host 10.0.0.0/8":           "write net",
		"tcp host 1.2.3.4":          "ip host",
		"ip6 host 1.2.3.4":          "does not go",
		"ip host ::1":               "does not go",
		"port 70000":                "65535",
		"ip port 80":                "no ports",
		"udp port http":             "does not use udp",
		"port nosuchservice":        "port number",
		"portrange ftp-data-ssh":    "not known",
		"portrange domain":          "two ports",
		"ip proto tcp":              `\tcp`,
		"tcp proto 6":               "no meaning",
		"src proto 6":               "expected",
		"ip[0] / 0 = 1":             "division by zero",
		"ip[0] << 32 = 1":           "31 bits",
		"ip[2:3] = 1":               "1, 2 or 4",
		"ip[0]":                     "comparison",
		"ip[0] = ":                  "the end",
		"ip[0 = 1":                  "]",
		"tcp and":                   "too early",
		"tcp udp":                   "and or or",
		"(tcp":                      "not closed",
		"tcp)":                      "closes nothing",
		"and tcp":                   "not expected",
		"not":                       "too early",
		"prot 80":                   `"proto"`,
		"tcp and 80":                "say what",
		"port -1":                   "expected",
		"host":                      "the end",
		"gateway foo":               "not supported",
		"less":                      "length",
		"ah[0] = 1":                 "ip or ip6",
		"tcp[tcpflags] & tcp-foo=1": "expected",
		"ip[6:2] & 0x1ffffffff = 1": "2^32",
		"host 1.2.3.4 ;":            "no meaning",
		"ether 1:2:3:4:5:6":         "ether needs",
	}
}
