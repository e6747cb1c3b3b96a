package main

import (
	"encoding/json"
	"io"
	"math"
)

// schema is the version of the document: it grows when a field changes its meaning or goes, not when one is added.
const schema = 1

// document is what -json writes.
type document struct {
	Schema  int      `json:"schema"`
	Machine *machine `json:"machine"`
	// Results are all figures, in the order of their first appearance.
	Results []resultJSON `json:"results"`
	// Ratios are the columns of tables that compare two figures of one round.
	Ratios []ratioJSON `json:"ratios"`
	Aims   []aimJSON   `json:"aims"`
	// Skipped are benchmarks that did not run, Failed lines of the input that say that something failed.
	Skipped []skip   `json:"skipped"`
	Failed  []string `json:"failed"`
}

type resultJSON struct {
	Name    string `json:"name"`
	Package string `json:"package,omitempty"`
	Unit    string `json:"unit"`
	// Samples are by rounds; null in a round that has none.
	Samples samplesJSON `json:"samples"`
	Median  numberJSON  `json:"median"`
}

type ratioJSON struct {
	Table   string      `json:"table"`
	Keys    keys        `json:"keys"`
	Column  string      `json:"column"`
	Samples samplesJSON `json:"samples"`
	Median  numberJSON  `json:"median"`
}

type aimJSON struct {
	About string  `json:"about"`
	Bound string  `json:"bound"`
	Limit float64 `json:"limit"`
	Unit  string  `json:"unit,omitempty"`
	// Verdict is "reached", "MISSED" or "not measured".
	Verdict string     `json:"verdict"`
	Cases   []caseJSON `json:"cases"`
}

type caseJSON struct {
	Keys    keys        `json:"keys"`
	Samples samplesJSON `json:"samples"`
	Median  numberJSON  `json:"median"`
}

// numberJSON is null where there is no figure.
type numberJSON float64

// MarshalJSON implements [json.Marshaler].
func (n numberJSON) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(n)) || math.IsInf(float64(n), 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

type samplesJSON []numberJSON

func samples(s series) samplesJSON {
	all := make(samplesJSON, len(s))
	for i, x := range s {
		all[i] = numberJSON(x)
	}
	return all
}

// newDocument puts a report together.
func newDocument(m *machine, r *results, filled []filledTable, aims []judged) document {
	d := document{
		Schema: schema, Machine: m, Results: []resultJSON{}, Ratios: []ratioJSON{}, Aims: []aimJSON{},
		Skipped: append([]skip{}, r.skips...), Failed: append([]string{}, r.failures...),
	}
	for _, s := range r.subjects {
		for _, unit := range s.units {
			figures := s.series(unit)
			d.Results = append(d.Results, resultJSON{s.name, s.pkg, unit, samples(figures), numberJSON(figures.median())})
		}
	}
	for _, t := range filled {
		for _, row := range t.rows {
			for i, cell := range row.cells {
				if c := t.columns[i]; c.op != plain && len(cell.figures()) > 0 {
					d.Ratios = append(d.Ratios, ratioJSON{t.title, row.keys, c.head, samples(cell), numberJSON(cell.median())})
				}
			}
		}
	}
	for _, j := range aims {
		a := aimJSON{About: j.about, Bound: j.bound.String(), Limit: j.bound.limit, Unit: j.bound.unit, Verdict: j.verdict(), Cases: []caseJSON{}}
		for _, c := range j.cases {
			a.Cases = append(a.Cases, caseJSON{c.keys, samples(c.series), numberJSON(c.value())})
		}
		d.Aims = append(d.Aims, a)
	}
	return d
}

func (d document) write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "\t")
	return e.Encode(d)
}
