package audit_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/audit"
)

func BenchmarkChange(b *testing.B) {
	for name, clients := range map[string]int{"single": 1, "clients=64": 64} {
		b.Run(name, func(b *testing.B) {
			l := open(b, b.TempDir(), audit.Options{})
			entry := audit.Entry{Operation: "POST /api/v1/peers", Path: "/api/v1/peers", Source: "192.0.2.7", RequestID: "0123456789abcdef"}
			b.ReportAllocs()
			var all sync.WaitGroup
			left := make(chan struct{}, b.N)
			for range b.N {
				left <- struct{}{}
			}
			close(left)
			b.ResetTimer()
			for range clients {
				all.Go(func() {
					for range left {
						c, err := l.Begin(b.Context(), entry)
						if err == nil {
							err = c.End(b.Context(), audit.Result{Status: 201})
						}
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			b.StopTimer()
			require.NoError(b, l.Close())
		})
	}
}
