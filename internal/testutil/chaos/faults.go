package chaos

import "time"

// Direction is that of bytes.
type Direction int

// Both is towards the server and towards the client.
const (
	Both Direction = iota
	ToServer
	ToClient
)

// Faults are what happens to connections. The zero Faults pass all.
type Faults struct {
	// Refuse ends a connection with RST as soon as it is accepted. Those that there are stay.
	Refuse bool
	// Silent accepts connections and passes nothing, for as long as it is set; what arrives meanwhile is dropped. Those that there
	// are go silent as well. In one direction alone the connection is half-open.
	Silent bool
	// Delay is how long bytes wait before they are passed, in each direction.
	Delay time.Duration
	// Rate is how many bytes pass in a second, each way. 0: all.
	Rate int
	// Reset ends a connection with RST when so many bytes have passed, both ways together, since it was set or since the
	// connection was made. 0: never; at the first byte: 1.
	Reset int64
	// Garble flips one bit in each so many bytes, 1 or more. 0: none.
	Garble int64
	// Direction limits Silent, Delay, Rate and Garble to bytes of one direction.
	Direction Direction
}

// in says whether the faults apply to bytes of a direction.
func (f Faults) in(d Direction) bool { return f.Direction == Both || f.Direction == d }
