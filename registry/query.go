package registry

import "time"

// Query says which server is wanted. Region, Country, City, Pool and Features are demands; the rest weighs what meets them.
type Query struct {
	Region  string `json:"region,omitempty"`
	Country string `json:"country,omitempty"`
	City    string `json:"city,omitempty"`
	// Pool is the group of servers; empty: DefaultPool.
	Pool string `json:"pool,omitempty"`
	// Features are those that the server must have.
	Features []string `json:"features,omitempty"`
	// Family is 4 or 6 when the client reaches endpoints of that family alone; 0: either.
	Family int `json:"family,omitempty"`
	// Position is the client's. With one, only servers are considered that are not farther than the nearest by more than
	// Slack; one whose position is unknown only when all are.
	Position *Position `json:"position,omitempty"`
	// Slack in km, 1 to 20,000. 0: DefaultSlack.
	Slack int `json:"slack,omitempty"`
	// SessionKey draws among what is left: each server in proportion to the room it has, and the same one for the same
	// key while the fleet stays as it is. At most 128 bytes.
	SessionKey string `json:"session_key,omitempty"`
	// Current is the server that the client has. It is kept if it meets all demands, near or far.
	Current ID `json:"current,omitempty"`
	// Exclude are servers that were tried in vain; at most MaxExclude.
	Exclude []ID `json:"exclude,omitempty"`
	// Freshness is how old the last heartbeat may be, in seconds, 1 to 86,400. 0: DefaultFreshness.
	Freshness int `json:"freshness,omitempty"`
	// MaxLoad is the score from which a server counts as overloaded, above 0, below 1; with 1 none does. 0: DefaultMaxLoad.
	MaxLoad float64 `json:"max_load,omitempty"`
}

// Defaults and bounds of a query.
const (
	DefaultSlack   = 300 // km
	DefaultMaxLoad = 0.95
	MaxExclude     = 64
)

// Reason says why a server was chosen, or was not.
type Reason string

// Reasons not to choose a server, in the order in which they are looked at: the first that applies is the one that is given.
// Then those to choose it.
const (
	Excluded     Reason = "excluded"
	NoAPI        Reason = "no_api"
	OtherPool    Reason = "pool"
	OtherRegion  Reason = "region"
	OtherCountry Reason = "country"
	OtherCity    Reason = "city"
	LacksFeature Reason = "feature"
	NoEndpoint   Reason = "endpoint"
	Stale        Reason = "stale"
	Unhealthy    Reason = "unhealthy"
	IsDraining   Reason = "draining"
	Full         Reason = "full"
	Overloaded   Reason = "overloaded"
	TooFar       Reason = "distance"
	NotDrawn     Reason = "not_drawn"

	KeptCurrent Reason = "current"
	Drawn       Reason = "drawn"
)

// Verdict is what a selection says of one server.
type Verdict struct {
	Server ID     `json:"server"`
	Name   string `json:"name"`
	Reason Reason `json:"reason"`
	// Distance from the query's position in km, rounded; -1: unknown or not asked for.
	Distance int `json:"distance"`
	// Weight is the server's share of new sessions beside the other candidates; 0: it is none. A server that is kept, however far,
	// has its own.
	Weight int64 `json:"weight"`
}

// Selection is the outcome of a query.
type Selection struct {
	// Server was chosen; its ID is empty when none was.
	Server Server `json:"server,omitzero"`
	// Verdicts are of all servers: that which was chosen first, then those that could have been, in the order in which they
	// would be tried, then the others by name.
	Verdicts []Verdict `json:"verdicts"`
	// At is the time of the selection, by the registry's clock.
	At time.Time `json:"at"`
}
