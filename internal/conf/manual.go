package conf

import (
	"fmt"
	"io"
	"strings"
)

// Manual writes the manual page mlvpn.conf(5), from the same list as Markdown, in the
// form that man(7) describes.
func Manual(w io.Writer) error {
	var b strings.Builder
	b.WriteString(".TH MLVPN.CONF 5\n.SH NAME\nmlvpn.conf \\- configuration of a Multilink tunnel\n.SH DESCRIPTION\n" +
		Roff("The file has sections, keys with values, and comments:") +
		".PP\n.nf\n[general]\nmode = \"client\"   # a text is in quotes\ntimeout = 30      # a number may be\n.fi\n.PP\n" +
		Roff("There is one section [general], one section for each link with a name of your choice, and at most one section [filters], in any order. "+
			"The file must belong to root or to the user who starts the daemon, and nobody else may read it (mode 0600): it holds a secret. "+
			"All problems of a file are reported together, with their lines. An unknown key is a warning.") +
		".PP\n" + Roff("SIGHUP makes the daemon read the file again. A file with a mistake changes nothing. Links are added, removed and changed without touching the others; what needs a restart is named in the log."))
	for _, s := range []struct {
		section Section
		title   string
	}{{General, "[general]"}, {Links, "LINKS: EVERY OTHER SECTION"}} {
		fmt.Fprintf(&b, ".SH \"%s\"\n", s.title)
		manualKeys(&b, sectionKeys(s.section, false))
		b.WriteString(".SS \"Additions, which MLVPN does not know\"\n")
		manualKeys(&b, sectionKeys(s.section, true))
	}
	b.WriteString(".SH [filters]\n" + Roff(filtersDoc))
	b.WriteString(".SH \"CLIENTS: clients.d/NAME\"\n" + Roff(clientsDoc))
	manualKeys(&b, clientKeys(new(ClientFile)))
	b.WriteString(".SH FILES\n.TP\n.I /etc/mlvpn/mlvpn.conf\n" + Roff("The usual place.") +
		".SH SEE ALSO\n.BR mlvpn (1),\n.BR pcap\\-filter (7)\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func manualKeys(b *strings.Builder, keys []Key) {
	for _, k := range keys {
		fmt.Fprintf(b, ".TP\n.B %s\n", strings.TrimSpace(Roff(strings.Join(k.names(), ", "))))
		about := k.typeCell()
		if d := k.defaultCell(); d != "" && k.Needed == "" {
			about += ", default " + d
		} else if d != "" {
			about += ", " + d
		}
		b.WriteString(Roff("(" + about + ") " + k.docCell()))
	}
}

// Roff returns a paragraph of text as roff(7) takes it, and a newline. What is in
// backquotes becomes bold.
func Roff(text string) string {
	var b strings.Builder
	bold := false
	for _, r := range text {
		switch r {
		case '\\':
			b.WriteString(`\e`)
		case '-':
			b.WriteString(`\-`)
		case '`':
			if bold = !bold; bold {
				b.WriteString(`\fB`)
			} else {
				b.WriteString(`\fR`)
			}
		default:
			b.WriteRune(r)
		}
	}
	lines := strings.Split(b.String(), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line // else it is a request
		}
	}
	return strings.Join(lines, "\n") + "\n"
}
