package pcapfilter

// keywords has the words with a meaning of their own, and their first spelling.
var keywords = map[string]string{
	"and": "and", "or": "or", "not": "not",
	"src": "src", "dst": "dst",
	"host": "host", "net": "net", "mask": "mask", "port": "port", "portrange": "portrange", "proto": "proto",
	"less": "less", "greater": "greater", "len": "len", "length": "len",
	"broadcast": "broadcast", "multicast": "multicast",
	"ether": "ether", "link": "ether", "ip": "ip", "ip6": "ip6", "arp": "arp", "rarp": "rarp",
	"icmp": "icmp", "icmp6": "icmp6", "igmp": "igmp", "igrp": "igrp", "tcp": "tcp", "udp": "udp", "sctp": "sctp",
	"pim": "pim", "carp": "carp", "vrrp": "vrrp", "ah": "ah", "esp": "esp",
}

// networks are the keywords of protocols that protocols has not.
var networks = map[string]bool{"ether": true, "ip": true, "ip6": true, "arp": true, "rarp": true}

// unsupported are keywords of libpcap that this package does not know.
var unsupported = map[string]bool{
	"gateway": true, "protochain": true, "inbound": true, "outbound": true, "ifindex": true, "byte": true,
	"vlan": true, "mpls": true, "pppoed": true, "pppoes": true, "geneve": true, "llc": true,
	"fddi": true, "tr": true, "wlan": true, "ppp": true, "slip": true, "radio": true,
	"atalk": true, "aarp": true, "decnet": true, "lat": true, "sca": true, "moprc": true, "mopdl": true,
	"iso": true, "clnp": true, "esis": true, "isis": true, "stp": true, "ipx": true, "netbeui": true,
}

// constants are names for offsets and values in TCP (RFC 9293, RFC 3168), ICMP (RFC 792
// and others) and ICMPv6 (RFC 4443 and others) headers.
var constants = map[string]uint32{
	"tcpflags": 13,
	"tcp-fin":  1, "tcp-syn": 2, "tcp-rst": 4, "tcp-push": 8, "tcp-ack": 16, "tcp-urg": 32, "tcp-ece": 64, "tcp-cwr": 128,

	"icmptype": 0, "icmpcode": 1,
	"icmp-echoreply": 0, "icmp-unreach": 3, "icmp-sourcequench": 4, "icmp-redirect": 5, "icmp-echo": 8,
	"icmp-routeradvert": 9, "icmp-routersolicit": 10, "icmp-timxceed": 11, "icmp-paramprob": 12,
	"icmp-tstamp": 13, "icmp-tstampreply": 14, "icmp-ireq": 15, "icmp-ireqreply": 16,
	"icmp-maskreq": 17, "icmp-maskreply": 18,

	"icmp6type": 0, "icmp6code": 1,
	"icmp6-destinationrunreach": 1, "icmp6-packettoobig": 2, "icmp6-timeexceeded": 3, "icmp6-parameterproblem": 4,
	"icmp6-echo": 128, "icmp6-echoreply": 129,
	"icmp6-multicastlistenerquery": 130, "icmp6-multicastlistenerreportv1": 131, "icmp6-multicastlistenerdone": 132,
	"icmp6-routersolicit": 133, "icmp6-routeradvert": 134, "icmp6-neighborsolicit": 135, "icmp6-neighboradvert": 136,
	"icmp6-redirect": 137, "icmp6-routerrenum": 138,
	"icmp6-nodeinformationquery": 139, "icmp6-nodeinformationresponse": 140,
	"icmp6-ineighbordiscoverysolicit": 141, "icmp6-ineighbordiscoveryadvert": 142,
	"icmp6-multicastlistenerreportv2": 143,
	"icmp6-homeagentdiscoveryrequest": 144, "icmp6-homeagentdiscoveryreply": 145,
	"icmp6-mobileprefixsolicit": 146, "icmp6-mobileprefixadvert": 147,
	"icmp6-certpathsolicit": 148, "icmp6-certpathadvert": 149,
	"icmp6-multicastrouteradvert": 151, "icmp6-multicastroutersolicit": 152, "icmp6-multicastrouterterm": 153,
}

// protocolNames has the numbers (IANA) of protocols by name.
var protocolNames = map[string]uint32{
	"ip": 0, "hopopt": 0, "icmp": 1, "igmp": 2, "ggp": 3, "ipencap": 4, "st": 5, "tcp": 6,
	"egp": 8, "igp": 9, "pup": 12, "udp": 17, "hmp": 20, "xns-idp": 22, "rdp": 27, "iso-tp4": 29,
	"dccp": 33, "xtp": 36, "ddp": 37, "idpr-cmtp": 38, "ipv6": 41, "ipv6-route": 43, "ipv6-frag": 44, "idrp": 45,
	"rsvp": 46, "gre": 47, "esp": 50, "ah": 51, "skip": 57, "ipv6-icmp": 58, "ipv6-nonxt": 59, "ipv6-opts": 60,
	"rspf": 73, "vmtp": 81, "eigrp": 88, "ospf": 89, "ax.25": 93, "ipip": 94, "etherip": 97, "encap": 98,
	"pim": 103, "ipcomp": 108, "vrrp": 112, "l2tp": 115, "isis": 124, "sctp": 132, "fc": 133, "mobility-header": 135,
	"udplite": 136, "mpls-in-ip": 137, "manet": 138, "hip": 139, "shim6": 140, "wesp": 141, "rohc": 142, "ethernet": 143,
}

// A service is the port of one, and the protocols that it uses.
type service struct {
	port     uint16
	tcp, udp bool
}

// protos returns the protocols in which a service's port is looked for. Who says which
// one it is may have it if the service uses it.
func (s service) protos(said string) []string {
	switch {
	case s.tcp && s.udp && said == "":
		return []string{"sctp", "tcp", "udp"}
	case s.tcp && s.udp:
		return []string{"tcp", "udp"}
	case s.tcp:
		return []string{"tcp"}
	}
	return []string{"udp"}
}

// services has the ports (IANA, Service Name and Transport Protocol Port Number Registry)
// of services by name, and the protocols for which Debian lists them.
var services = map[string]service{
	"tcpmux": {1, true, false}, "echo": {7, true, true}, "discard": {9, true, true}, "systat": {11, true, false},
	"daytime": {13, true, true}, "netstat": {15, true, false}, "qotd": {17, true, false}, "chargen": {19, true, true},
	"ftp-data": {20, true, false}, "ftp": {21, true, false}, "ssh": {22, true, false}, "telnet": {23, true, false},
	"mail": {25, true, false}, "smtp": {25, true, false}, "time": {37, true, true}, "nicname": {43, true, false},
	"whois": {43, true, false}, "tacacs": {49, true, true}, "domain": {53, true, true}, "bootps": {67, false, true},
	"bootpc": {68, false, true}, "tftp": {69, false, true}, "gopher": {70, true, false}, "finger": {79, true, false},
	"http": {80, true, false}, "www": {80, true, false}, "kerberos": {88, true, true}, "kerberos5": {88, true, true},
	"pop-3": {110, true, false}, "pop3": {110, true, false}, "portmapper": {111, true, true}, "sunrpc": {111, true, true},
	"auth": {113, true, false}, "ident": {113, true, false}, "nntp": {119, true, false}, "ntp": {123, false, true},
	"epmap": {135, true, false}, "netbios-ns": {137, false, true}, "netbios-dgm": {138, false, true}, "netbios-ssn": {139, true, false},
	"imap": {143, true, false}, "imap2": {143, true, false}, "snmp": {161, true, true}, "snmp-trap": {162, true, true},
	"snmptrap": {162, true, true}, "xdmcp": {177, false, true}, "bgp": {179, true, false}, "z3950": {210, true, false},
	"ptp-event": {319, false, true}, "ptp-general": {320, false, true}, "ldap": {389, true, true}, "svrloc": {427, true, true},
	"https": {443, true, true}, "microsoft-ds": {445, true, false}, "kpasswd": {464, true, true}, "submissions": {465, true, false},
	"isakmp": {500, false, true}, "exec": {512, true, false}, "login": {513, true, false}, "who": {513, false, true},
	"shell": {514, true, false}, "syslog": {514, false, true}, "printer": {515, true, false}, "talk": {517, false, true},
	"ntalk": {518, false, true}, "route": {520, false, true}, "uucp": {540, true, false}, "klogin": {543, true, false},
	"kshell": {544, true, false}, "dhcpv6-client": {546, false, true}, "dhcpv6-server": {547, false, true}, "afpovertcp": {548, true, false},
	"rtsp": {554, true, true}, "nntps": {563, true, false}, "submission": {587, true, false}, "asf-rmcp": {623, false, true},
	"ipp": {631, true, false}, "ldaps": {636, true, true}, "ldp": {646, true, true}, "tinc": {655, true, true},
	"silc": {706, true, false}, "spamd": {783, true, false}, "domain-s": {853, true, true}, "rsync": {873, true, false},
	"ftps-data": {989, true, false}, "ftps": {990, true, false}, "telnets": {992, true, false}, "imaps": {993, true, false},
	"pop3s": {995, true, false}, "socks": {1080, true, false}, "openvpn": {1194, true, true}, "ms-sql-s": {1433, true, false},
	"ms-sql-m": {1434, false, true}, "l2f": {1701, false, true}, "radius": {1812, true, true}, "radius-acct": {1813, true, true},
	"cisco-sccp": {2000, true, false}, "nfs": {2049, true, true}, "cvspserver": {2401, true, false}, "isns": {3205, true, true},
	"iscsi-target": {3260, true, false}, "mysql": {3306, true, false}, "ms-wbt-server": {3389, true, false}, "nut": {3493, true, true},
	"distcc": {3632, true, false}, "daap": {3689, true, false}, "svn": {3690, true, false}, "sieve": {4190, true, false},
	"epmd": {4369, true, false}, "ntske": {4460, true, false}, "ipsec-nat-t": {4500, false, true}, "iax": {4569, false, true},
	"munin": {4949, true, false}, "sip": {5060, true, true}, "sip-tls": {5061, true, true}, "xmpp-client": {5222, true, false},
	"xmpp-server": {5269, true, false}, "mdns": {5353, false, true}, "postgresql": {5432, true, false}, "nrpe": {5666, true, false},
	"nsca": {5667, true, false}, "amqps": {5671, true, false}, "x11": {6000, true, false}, "gnutella-svc": {6346, true, true},
	"redis": {6379, true, false}, "syslog-tls": {6514, true, false}, "ircd": {6667, true, false}, "babel": {6696, false, true},
	"ircs-u": {6697, true, false}, "http-alt": {8080, true, false}, "tproxy": {8081, true, false}, "puppet": {8140, true, false},
	"git": {9418, true, false}, "webmin": {10000, true, false}, "zabbix-agent": {10050, true, false}, "zabbix-trapper": {10051, true, false},
	"nbd": {10809, true, false}, "hkp": {11371, true, false},
}

// nearest returns the keyword that differs least from a word, if it is one or two letters.
func nearest(word string) string {
	best, least := "", 3
	for k := range keywords {
		if d := distance(word, k); d < least && d < len(k)-1 || d == least && k < best {
			best, least = k, d
		}
	}
	return best
}

// distance is the number of letters to insert, delete or replace (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		left := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := left
			if a[i] != b[j] {
				d = 1 + min(left, row[j], row[j+1])
			}
			left, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}
