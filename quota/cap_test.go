package quota_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/quota"
)

func TestCapValidate(t *testing.T) {
	for _, c := range []quota.Cap{
		{},
		{Bytes: 1},
		{Bytes: quota.MaxBytes, Counted: quota.CountUpload, Thresholds: []int{}},
		{Bytes: 5 * quota.GiB, AtEnd: quota.Throttle, ThrottleUpload: 1},
		{Period: quota.Period{Kind: quota.Daily, TimeZone: "Asia/Kolkata", Hour: 23}},
		{Period: quota.Period{Kind: quota.Weekly, Weekday: time.Saturday}},
		{Period: quota.Period{Kind: quota.Monthly, Day: 31}, Thresholds: []int{100, 1, 50}},
		{Period: quota.Period{Kind: quota.Rolling, Window: quota.MinWindow}},
		{Period: quota.Period{Kind: quota.Rolling, Window: quota.MaxWindow}},
	} {
		require.NoError(t, c.Validate(), "%+v", c)
	}
}

func TestCapValidateNamesEachProblem(t *testing.T) {
	for name, test := range map[string]struct {
		cap    quota.Cap
		fields []string
	}{
		"many": {
			quota.Cap{Bytes: quota.MaxBytes + 1, Counted: 3, AtEnd: -1, Thresholds: []int{0, 101, 50, 50},
				Period: quota.Period{Kind: quota.Monthly, TimeZone: "Mars/Olympus", Day: 32, Hour: 24, Window: time.Hour}},
			[]string{"Bytes", "Counted", "AtEnd", "Thresholds[0]", "Thresholds[1]", "Thresholds[3]", "Period.Window",
				"Period.Day", "Period.Hour", "Period.TimeZone"},
		},
		"unknown kind":      {quota.Cap{Period: quota.Period{Kind: 9}}, []string{"Period.Kind"}},
		"fields of no use":  {quota.Cap{Period: quota.Period{TimeZone: "UTC", Weekday: 1, Day: 1, Hour: 1}}, []string{"Period.TimeZone", "Period.Weekday", "Period.Day", "Period.Hour"}},
		"weekday":           {quota.Cap{Period: quota.Period{Kind: quota.Weekly, Weekday: 7}}, []string{"Period.Weekday"}},
		"negative":          {quota.Cap{Period: quota.Period{Kind: quota.Monthly, Day: -1, Hour: -1}}, []string{"Period.Day", "Period.Hour"}},
		"local":             {quota.Cap{Period: quota.Period{Kind: quota.Daily, TimeZone: "Local"}}, []string{"Period.TimeZone"}},
		"path":              {quota.Cap{Period: quota.Period{Kind: quota.Daily, TimeZone: "../../etc/passwd"}}, []string{"Period.TimeZone"}},
		"no window":         {quota.Cap{Period: quota.Period{Kind: quota.Rolling}}, []string{"Period.Window"}},
		"long window":       {quota.Cap{Period: quota.Period{Kind: quota.Rolling, Window: quota.MaxWindow + time.Minute}}, []string{"Period.Window"}},
		"odd window":        {quota.Cap{Period: quota.Period{Kind: quota.Rolling, Window: 90 * time.Second}}, []string{"Period.Window"}},
		"speeds of no use":  {quota.Cap{Bytes: 1, ThrottleDownload: 1, ThrottleUpload: 1}, []string{"ThrottleDownload", "ThrottleUpload"}},
		"throttle to what":  {quota.Cap{Bytes: 1, AtEnd: quota.Throttle}, []string{"AtEnd"}},
		"endless threshold": {quota.Cap{Thresholds: make([]int, 1e6)}, []string{"Thresholds"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.cap.Validate()
			require.ErrorIs(t, err, quota.ErrCap)
			joined, ok := err.(interface{ Unwrap() []error })
			require.True(t, ok)
			var fields []string
			for _, e := range joined.Unwrap() {
				var problem *quota.CapError
				require.ErrorAs(t, e, &problem)
				require.NotEmpty(t, problem.Value)
				fields = append(fields, problem.Field)
			}
			require.Equal(t, test.fields, fields)
		})
	}
}

func TestCapEqual(t *testing.T) {
	c := quota.Cap{Bytes: 1, Period: quota.Period{Kind: quota.Monthly}}
	spelled := quota.Cap{Bytes: 1, Period: quota.Period{Kind: quota.Monthly, TimeZone: "UTC", Day: 1}, Thresholds: []int{100, 80}}
	require.True(t, c.Equal(spelled))
	none := c.Clone()
	none.Thresholds = []int{}
	require.False(t, c.Equal(none))
	spelled.Period.Day = 2
	require.False(t, c.Equal(spelled))

	clone := spelled.Clone()
	clone.Thresholds[0] = 7
	require.Equal(t, 100, spelled.Thresholds[0])
}

func TestCapJSON(t *testing.T) {
	for want, c := range map[string]quota.Cap{
		`{}`: {},
		`{"bytes":"5GiB","counted":"download","period":{"kind":"monthly","time_zone":"Europe/Berlin","day":15,"hour":6},` +
			`"at_end":"throttle","throttle_download":1000000,"thresholds":[50]}`: {
			Bytes: 5 * quota.GiB, Counted: quota.CountDownload, AtEnd: quota.Throttle, ThrottleDownload: 1e6, Thresholds: []int{50},
			Period: quota.Period{Kind: quota.Monthly, TimeZone: "Europe/Berlin", Day: 15, Hour: 6},
		},
		`{"bytes":"1B","period":{"kind":"rolling","window":"24h0m0s"},"thresholds":[]}`: {
			Bytes: 1, Period: quota.Period{Kind: quota.Rolling, Window: 24 * time.Hour}, Thresholds: []int{},
		},
		`{"period":{"kind":"weekly","weekday":"sunday"}}`: {Period: quota.Period{Kind: quota.Weekly}},
	} {
		data, err := json.Marshal(c)
		require.NoError(t, err)
		require.Equal(t, want, string(data))
		var got quota.Cap
		require.NoError(t, json.Unmarshal(data, &got))
		require.Equal(t, c, got)
	}
}

func TestCapJSONErrors(t *testing.T) {
	for _, text := range []string{
		`[]`, `{"byte":"1GiB"}`, `{"bytes":"1G"}`, `{"bytes":-1}`, `{"counted":"all"}`, `{"counted":""}`, `{"at_end":"explode"}`,
		`{"period":{"kind":"yearly"}}`, `{"period":{"kind":"daily","minute":1}}`, `{"period":{"kind":"weekly","weekday":"someday"}}`,
		`{"period":{"kind":"rolling","window":"soon"}}`, `{"period":{"kind":"rolling","window":3600}}`, `{"thresholds":[101]}`,
		`{"period":{"kind":"daily","hour":99}}`,
	} {
		c := quota.Cap{Bytes: 7}
		require.Error(t, json.Unmarshal([]byte(text), &c), text)
		require.Equal(t, quota.Cap{Bytes: 7}, c, text)
	}
	_, err := json.Marshal(quota.Cap{Counted: 9})
	require.Error(t, err)
	_, err = json.Marshal(quota.Period{Kind: quota.Weekly, Weekday: 9})
	require.Error(t, err)
	require.NoError(t, json.Unmarshal([]byte("null"), new(quota.Cap)))
}

func FuzzCapJSON(f *testing.F) {
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"bytes":"5GiB","counted":"both","period":{"kind":"monthly","time_zone":"Asia/Kolkata","day":31},"thresholds":[1]}`))
	f.Add([]byte(`{"bytes":"5GB","period":{"kind":"rolling","window":"1h"},"at_end":"throttle","throttle_upload":8000}`))
	f.Add([]byte(`{"period":{"kind":"weekly","weekday":"Monday","hour":5}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var c quota.Cap
		if json.Unmarshal(data, &c) != nil {
			require.Equal(t, quota.Cap{}, c)
			return
		}
		require.NoError(t, c.Validate())
		text, err := json.Marshal(c)
		require.NoError(t, err)
		var again quota.Cap
		require.NoError(t, json.Unmarshal(text, &again))
		require.True(t, c.Equal(again))
	})
}

func TestNames(t *testing.T) {
	require.Equal(t, "download", quota.Download.String())
	require.Equal(t, "upload", quota.Upload.String())
	require.Equal(t, "direction-7", quota.Direction(7).String())
	require.Equal(t, "both", quota.CountBoth.String())
	require.Equal(t, "block", quota.Block.String())
	require.Equal(t, "refuse", quota.Refuse.String())
	require.Equal(t, "event-0", quota.EventKind(0).String())
	require.Equal(t, "depleted", quota.Depleted.String())
	var kind quota.EventKind
	require.Error(t, kind.UnmarshalText(nil), "the empty text is no kind")
}
