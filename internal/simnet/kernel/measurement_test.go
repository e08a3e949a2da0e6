package kernel

// A measurement is a line of testdata/kernel.jsonl.
type measurement struct {
	Date    string  `json:"date"`
	Kernel  string  `json:"kernel"`
	Case    string  `json:"case"`
	Control string  `json:"control"`
	Seed    uint64  `json:"seed"`
	Mbps    float64 `json:"mbps"`
	Retrans uint32  `json:"retrans"`
	Late    float64 `json:"late_us"` // see Result
	Stalled float64 `json:"stalled_ms"`
}
