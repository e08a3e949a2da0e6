package wan

// The control channel carries one JSON value per line: a Request to the bridge, then
// a Reply from it. Nothing but Guard comes before Open. The bridge ends when the channel
// does.

// Request asks the bridge to do what its non-nil fields say.
type Request struct {
	// Guard names the network namespaces to remove, with the processes in them, when
	// the channel ends.
	Guard []string `json:",omitempty"`

	Open  *Open `json:",omitempty"`
	Set   []Set `json:",omitempty"`
	Stats bool  `json:",omitempty"`
}

// Open starts the bridge.
type Open struct {
	Netns string // path of the network namespace that holds the interfaces
	Seed  uint64
	Lines []Ports
}

// Ports are the two interfaces that a line joins. Direction 0 leads from A to B.
type Ports struct {
	A, B string
}

// Set replaces the parameters of one direction.
type Set struct {
	Line, Direction int
	Params          Params
}

// Reply answers one Request. Stats has the two directions of each line.
type Reply struct {
	Error string        `json:",omitempty"`
	Stats [][2]Counters `json:",omitempty"`
}
