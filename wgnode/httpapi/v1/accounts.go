package v1

import "time"

// Account is a customer, whose peers share one limit and one cap.
type Account struct {
	ID         string            `json:"id"`
	Labels     map[string]string `json:"labels,omitempty"`
	SpeedLimit SpeedLimit        `json:"speed_limit" doc:"What the account's peers have together."`
	DataCap    *DataCap          `json:"data_cap,omitempty" doc:"What the account's peers use together."`
	Suspended  bool              `json:"suspended" doc:"Nothing of the account's peers passes."`
	Peers      int               `json:"peers" doc:"How many the account has."`
	CreatedAt  time.Time         `json:"created_at"`
}

// AccountSpec says what an account shall be. Whether it is suspended stays.
type AccountSpec struct {
	Labels     map[string]string `json:"labels,omitempty" maxProperties:"32" doc:"To keep with the account."`
	SpeedLimit SpeedLimit        `json:"speed_limit,omitzero" doc:"What the account's peers have together; left out: no limit."`
	DataCap    *DataCap          `json:"data_cap,omitempty" doc:"What the account's peers use together; left out: none."`
}

// AccountSettings are what of an account can be changed.
type AccountSettings struct {
	Labels     map[string]string `json:"labels,omitempty" maxProperties:"32" doc:"Each is set, or taken away with null."`
	SpeedLimit SpeedLimit        `json:"speed_limit,omitzero" doc:"null: no limit."`
	DataCap    *DataCap          `json:"data_cap,omitempty" doc:"null: none."`
	Suspended  bool              `json:"suspended,omitzero" doc:"true closes all the account's peers, false or null opens them."`
}

// AccountPatch changes AccountSettings.
type AccountPatch struct {
	Labels     Field[map[string]*string] `json:"labels,omitzero"` // nil takes a label away
	SpeedLimit Field[SpeedLimitPatch]    `json:"speed_limit,omitzero"`
	DataCap    Field[DataCapPatch]       `json:"data_cap,omitzero"`
	Suspended  Field[bool]               `json:"suspended,omitzero"`
}

// AccountList is a page of a list.
type AccountList struct {
	Items []Account `json:"items" nullable:"false"`
	Next  string    `json:"next,omitempty" doc:"Give it as cursor for the next page; left out: this is the last."`
}
