package registry

import (
	"fmt"
	"slices"
	"strings"
)

// Err returns nil if a server was chosen, else [ErrNoServer] with the reasons.
func (s Selection) Err() error {
	if s.Server.ID != "" {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrNoServer, s.against())
}

// Explain says in a few lines, for people, which server was chosen and why, and why the others were not.
func (s Selection) Explain() string {
	var b strings.Builder
	var others []string
	var total int64
	for _, v := range s.Verdicts {
		if v.Reason == NotDrawn {
			others = append(others, v.Name)
		}
		if v.Reason == NotDrawn || v.Reason == Drawn {
			total += v.Weight
		}
	}
	switch {
	case s.Server.ID == "" || len(s.Verdicts) == 0:
		b.WriteString("no server was chosen")
	case s.Verdicts[0].Reason == KeptCurrent:
		fmt.Fprintf(&b, "%s was kept: it is the present one and meets all demands", s.Verdicts[0].Name)
	default:
		v := s.Verdicts[0]
		fmt.Fprintf(&b, "%s was drawn, with %s of the room", v.Name, percent(v.Weight, total))
	}
	if s.Server.ID != "" && len(s.Verdicts) > 0 && s.Verdicts[0].Distance >= 0 {
		fmt.Fprintf(&b, ", %d km away", s.Verdicts[0].Distance)
	}
	if len(others) > 0 {
		fmt.Fprintf(&b, "\ncould have been: %s", some(others))
	}
	if text := s.against(); text != "" {
		fmt.Fprintf(&b, "\nnot considered: %s", text)
	}
	return b.String()
}

// against says how many servers each reason is against, and which.
func (s Selection) against() string {
	if len(s.Verdicts) == 0 {
		return "there are no servers"
	}
	names := make(map[Reason][]string)
	for _, v := range s.Verdicts {
		if v.Reason != Drawn && v.Reason != KeptCurrent && v.Reason != NotDrawn {
			names[v.Reason] = append(names[v.Reason], v.Name)
		}
	}
	reasons := make([]Reason, 0, len(names))
	for r := range names {
		reasons = append(reasons, r)
	}
	slices.SortFunc(reasons, func(a, b Reason) int {
		if c := len(names[b]) - len(names[a]); c != 0 {
			return c
		}
		return strings.Compare(string(a), string(b))
	})
	parts := make([]string, len(reasons))
	for i, r := range reasons {
		parts[i] = fmt.Sprintf("%d %s (%s)", len(names[r]), r.words(), some(names[r]))
	}
	return strings.Join(parts, ", ")
}

// words say a reason for people.
func (r Reason) words() string {
	switch r {
	case NoAPI:
		return "without an API"
	case OtherPool, OtherRegion, OtherCountry, OtherCity:
		return "of another " + string(r)
	case LacksFeature:
		return "without a feature"
	case NoEndpoint:
		return "without an endpoint of the family"
	case TooFar:
		return "too far"
	default:
		return string(r)
	}
}

// some are the first names, and how many others there are.
func some(names []string) string {
	const most = 4
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most-1], ", "), len(names)-most+1)
}

// percent is never 0 of what is there.
func percent(part, whole int64) string {
	if p := 100 * float64(part) / float64(max(1, whole)); p >= 1 {
		return fmt.Sprintf("%.0f %%", p)
	}
	return "less than 1 %"
}
