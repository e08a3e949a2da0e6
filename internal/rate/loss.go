package rate

// loss tells the losses that a link always has from those that too high a rate causes,
// as at a policer or a short queue, which never shows as delay.
type loss struct {
	usual  float64 // ratio; rises slowly, falls fast
	recent float64 // ratio over the last few hundred datagrams
	acked  int
	lost   int
}

const (
	// lossSample is how many datagrams make a sample of the loss ratio.
	lossSample = 200
	// maxUsual bounds the ratio that is taken for usual.
	maxUsual = 0.1
)

func (l *loss) add(s Sample) {
	l.acked += s.Acked
	l.lost += s.Lost
	n := l.acked + l.lost
	if n < lossSample {
		return
	}
	ratio := float64(l.lost) / float64(n)
	l.acked, l.lost = 0, 0
	l.recent += (ratio - l.recent) / 2
	gain := 1.0 / 32
	if ratio < l.usual {
		gain = 1.0 / 4
	}
	l.usual = min(l.usual+gain*(ratio-l.usual), maxUsual)
}

// excessive reports whether clearly more is lost than usual.
func (l *loss) excessive() bool { return l.recent > 2*l.usual+0.05 }
