package httpapi

import (
	"strings"
	"unicode"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
)

// faultsOf tells of what the node found wrong with a part of a request, in the request's words.
func faultsOf(v *wgnode.ValidationError, at string) []problem.Fault {
	faults := make([]problem.Fault, len(v.Problems))
	for i, p := range v.Problems {
		faults[i] = problem.Fault{Location: abridge(at + "." + location(p.Field)), Message: inWords(p.Message)}
	}
	return faults
}

// location is the path in a request of a field of package wgnode's or quota's: data_cap.period.hour of DataCap.Period.Hour.
func location(field string) string {
	field, index, _ := strings.Cut(field, "[") // what follows may be a label's name
	switch field {
	case "ID":
		field = "Id"
	case "Addrs":
		field = "Addresses"
	case "DataCap.Throttle":
		field = "DataCap.AtEnd"
	}
	var b strings.Builder
	for i, r := range field {
		if unicode.IsUpper(r) {
			if i > 0 && field[i-1] != '.' && field[i-1] != ' ' {
				b.WriteByte('_')
			}
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	if index != "" {
		b.WriteString("[" + index)
	}
	return b.String()
}

// inWords puts names of the library's into those of the API's.
func inWords(message string) string {
	return strings.NewReplacer(
		"create it with PutAccount", "create it with PUT "+Prefix+"/accounts/{id}",
		"ThrottleDownload", "throttle_download", "ThrottleUpload", "throttle_upload", "AtEnd", "at_end", "Throttle", "throttle",
		"wgnode: ", "", "quota: ", "", "shaping: ", "",
	).Replace(message)
}

// abridge keeps a hostile text from filling an answer.
func abridge(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
