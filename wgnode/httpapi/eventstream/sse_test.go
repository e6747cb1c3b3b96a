package eventstream

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// model reads a whole stream as the specification says it, line by line.
func model(text string) (messages []message, lastID string) {
	text = strings.TrimPrefix(text, "\xef\xbb\xbf")
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	lines := strings.Split(text, "\n")
	lines = lines[:len(lines)-1] // what has no end is not a line
	id, event, data := "", "", ""
	for _, line := range lines {
		if line == "" {
			lastID = id
			if data != "" {
				messages = append(messages, message{id: id, event: event, data: strings.TrimSuffix(data, "\n")})
			}
			event, data = "", ""
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			event = value
		case "data":
			data += value + "\n"
		case "id":
			if !strings.ContainsRune(value, 0) {
				id = value
			}
		}
	}
	return messages, lastID
}

func parse(r io.Reader) (messages []message, p *parser, err error) {
	p = newParser(r)
	for {
		m, err := p.next()
		if errors.Is(err, io.EOF) {
			return messages, p, nil
		}
		if err != nil {
			return messages, p, err
		}
		messages = append(messages, m)
	}
}

func check(t require.TestingT, text string) {
	want, lastID := model(text)
	for _, r := range []io.Reader{strings.NewReader(text), iotest.OneByteReader(strings.NewReader(text))} {
		got, p, err := parse(r)
		require.NoError(t, err)
		require.True(t, slices.Equal(want, got), "%q: %q, not %q", text, got, want)
		require.Equal(t, lastID, p.lastID)
	}
}

func TestParser(t *testing.T) {
	for text, want := range map[string][]message{ // the examples of the specification, section 9.2.6
		"data: YHOO\ndata: +2\ndata: 10\n\n": {{data: "YHOO\n+2\n10"}},
		": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n": {
			{data: "first event", id: "1"}, {data: "second event"}, {data: " third event"},
		},
		"data\n\ndata\ndata\n\ndata:":         {{}, {data: "\n"}}, //nolint:dupword // as the specification has it
		"data:test\n\ndata: test\n\n":         {{data: "test"}, {data: "test"}},
		"\xef\xbb\xbfevent: a\rdata: 1\r\r":   {{event: "a", data: "1"}},
		"id: 1\n\nid: 2\x00\ndata: x\r\n\r\n": {{id: "1", data: "x"}},
		"event: a\n\ndata: b\n\n":             {{data: "b"}},
		"data: lost":                          nil,
		"data: lost\n":                        nil,
	} {
		got, _, err := parse(strings.NewReader(text))
		require.NoError(t, err)
		require.Equal(t, want, got, "%q", text)
		check(t, text)
	}
}

func TestParserAgainstModel(t *testing.T) {
	piece := rapid.SampledFrom([]string{
		"data", "id", "event", "retry", ":", " ", "\n", "\r", "\r\n", "\n\n", "x", "\x00", "12", "\xef\xbb\xbf", "data: y\n", "id: 7\n",
	})
	rapid.Check(t, func(t *rapid.T) { check(t, strings.Join(rapid.SliceOf(piece).Draw(t, "pieces"), "")) })
}

func TestRetryField(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"retry: 1500\n":                 1500 * time.Millisecond,
		"retry:0\n":                     0,
		"retry: -1\n":                   0,
		"retry: +1\n":                   0,
		"retry: 1e3\n":                  0,
		"retry: 5\nretry: x\n":          5 * time.Millisecond,
		"retry: 99999999999999999999\n": (1<<31 - 1) * time.Millisecond,
	} {
		_, p, err := parse(strings.NewReader(text))
		require.NoError(t, err)
		require.Equal(t, want, p.retry, "%q", text)
	}
}

func TestParserBounds(t *testing.T) {
	for _, text := range []string{strings.Repeat("x", maxMessage+1), strings.Repeat("data: x\n", maxMessage/7+1)} {
		_, _, err := parse(strings.NewReader(text))
		require.ErrorIs(t, err, errLarge)
	}
}

// A message is there when its last byte is, also when that is a CR that a LF might follow.
func TestParserDoesNotWait(t *testing.T) {
	r, w := io.Pipe()
	go func() { _, _ = w.Write([]byte("data: 1\r\r")) }()
	p := newParser(r)
	m, err := p.next()
	require.NoError(t, err)
	require.Equal(t, message{data: "1"}, m)
	go func() {
		_, _ = w.Write([]byte("\ndata: 2\n\n"))
		_ = w.Close()
	}()
	m, err = p.next()
	require.NoError(t, err)
	require.Equal(t, message{data: "2"}, m)
	_, err = p.next()
	require.ErrorIs(t, err, io.EOF)
}

func FuzzParser(f *testing.F) {
	f.Add("retry: 2000\nid: 0123456789abcdef-1\n\nid: 0123456789abcdef-2\ndata: {\"kind\":\"missed\"}\n\n")
	f.Add("\xef\xbb\xbfdata: 1\r\ndata\r\rid: \x00\n\n: keep-alive\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) < maxMessage {
			check(t, text)
		}
	})
}
