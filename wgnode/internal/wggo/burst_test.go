package wggo

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/conn"
	"pgregory.net/rapid"
)

// sentBind keeps what is sent, by calls.
type sentBind struct {
	conn.Bind
	calls [][][]byte
}

func (b *sentBind) Send(bufs [][]byte, _ conn.Endpoint) error {
	b.calls = append(b.calls, bufs)
	return nil
}

// All messages are sent, in order, as many at a time as a link takes whole.
func TestBursts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var messages [][]byte
		for _, size := range rapid.SliceOfN(rapid.IntRange(0, 70_000), 0, conn.IdealBatchSize).Draw(t, "sizes") {
			messages = append(messages, make([]byte, size))
		}
		bind := new(sentBind)
		m := mux{bind: bind}
		require.NoError(t, m.send(messages, nil))
		var sent [][]byte
		for i, call := range bind.calls {
			size := 0
			for _, message := range call {
				size += len(message)
			}
			if len(call) > 1 {
				require.LessOrEqual(t, size, MaxBurst)
			}
			if i+1 < len(bind.calls) {
				require.Greater(t, size+len(bind.calls[i+1][0]), MaxBurst, "more would have gone at once")
			}
			sent = append(sent, call...)
		}
		require.Len(t, sent, len(messages))
		for i := range sent {
			require.Len(t, sent[i], len(messages[i]))
		}
	})
}
