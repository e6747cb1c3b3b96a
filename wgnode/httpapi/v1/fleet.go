package v1

import "time"

// Fleet is how a node stands with the fleet that it is in.
type Fleet struct {
	// Phase is joining, joined, outage, denied, name_taken, refused, superseded or left, as package membership has them.
	Phase string    `json:"phase"`
	Since time.Time `json:"since,omitzero"`
	// Server is the node's ID in the fleet; empty before it has registered.
	Server string `json:"server,omitempty"`
	// Registered: it has registered since it was started.
	Registered bool `json:"registered"`
	// LastSuccess is when the fleet last answered, and Error why the last call failed.
	LastSuccess time.Time `json:"last_success,omitzero"`
	Error       string    `json:"error,omitempty"`
	// Draining is what the node wants, FleetDraining what whoever runs the fleet does.
	Draining      bool `json:"draining"`
	FleetDraining bool `json:"fleet_draining"`
	// UsageReports is how many reports of usage were taken in all, and UsagePending that there is more.
	UsageReports int64 `json:"usage_reports"`
	UsagePending bool  `json:"usage_pending"`
	// PendingReleases are sessions that have left and whose peers were not removed yet.
	PendingReleases int `json:"pending_releases"`
	// Credential is the id of the key that the node speaks to the fleet with, and CredentialCreated when that was made; neither for
	// a node that asks the fleet's database.
	Credential        string    `json:"credential,omitempty"`
	CredentialCreated time.Time `json:"credential_created,omitzero"`
}
