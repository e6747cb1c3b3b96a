package v1

import "time"

// SpeedLimit is a speed limit, each direction apart.
type SpeedLimit struct {
	Download Rate `json:"download,omitzero" doc:"Towards the peer; 0 or left out: no limit."`
	Upload   Rate `json:"upload,omitzero" doc:"From the peer; 0 or left out: no limit."`
}

// DataCap is how much data may be moved in a period, and what happens then; see package quota.
type DataCap struct {
	Bytes   Bytes  `json:"bytes,omitzero" doc:"What may be moved in a period; 0: as much as one likes, and usage is counted by period."`
	Counted string `json:"counted,omitempty" enum:"both,download,upload" doc:"Which directions count; left out: both."`
	Period  Period `json:"period,omitzero" doc:"After which time usage begins anew; left out: never."`
	AtEnd   string `json:"at_end,omitempty" enum:"block,throttle" doc:"What happens when all is used; left out: block."`
	// ThrottleDownload is the speed towards the peer that "throttle" falls to.
	ThrottleDownload Rate `json:"throttle_download,omitzero" doc:"Speed towards the peer after the cap, for at_end throttle."`
	// ThrottleUpload is the speed from the peer that "throttle" falls to.
	ThrottleUpload Rate `json:"throttle_upload,omitzero" doc:"Speed from the peer after the cap, for at_end throttle."`
	// Thresholds are nil for the default, 80 and 100, and empty for none.
	Thresholds []int `json:"thresholds,omitzero" nullable:"false" maxItems:"100" minimum:"1" maximum:"100" doc:"Percentages whose reaching is an event, each once; left out: 80 and 100."`
}

// Period is the time that a cap is for; see quota.Period.
type Period struct {
	Kind     string   `json:"kind,omitempty" enum:"none,daily,weekly,monthly,rolling" doc:"Left out: none, one period without end."`
	TimeZone string   `json:"time_zone,omitempty" maxLength:"64" example:"Europe/Berlin" doc:"Zone of a calendar period; left out: UTC."`
	Weekday  string   `json:"weekday,omitempty" enum:"sunday,monday,tuesday,wednesday,thursday,friday,saturday" doc:"When a weekly period begins; left out: sunday."`
	Day      int      `json:"day,omitzero" minimum:"0" maximum:"31" doc:"When a monthly period begins; the last day in a month that is shorter."`
	Hour     int      `json:"hour,omitzero" minimum:"0" maximum:"23" doc:"When a calendar period begins."`
	Window   Duration `json:"window,omitzero" doc:"Length of a rolling period, whole minutes, 1m to 8784h."`
}

// Usage is what a peer or an account used.
type Usage struct {
	Used        Bytes     `json:"used" doc:"In the period that runs, in the directions that the data cap counts."`
	Limit       Bytes     `json:"limit,omitzero" doc:"The data cap, with what was topped up."`
	Remaining   Bytes     `json:"remaining,omitzero" doc:"What may still be used."`
	Depleted    bool      `json:"depleted" doc:"Nothing remains of a cap."`
	PeriodStart time.Time `json:"period_start,omitzero"`
	PeriodEnd   time.Time `json:"period_end,omitzero"`
	Download    Bytes     `json:"download" doc:"Towards the peer, since it was added, whatever the cap counts."`
	Upload      Bytes     `json:"upload" doc:"From the peer, since it was added, whatever the cap counts."`
}

// TopUp gives more for the period that runs.
type TopUp struct {
	Bytes Bytes `json:"bytes" doc:"How much more; at least 1."`
}
