package audit_test

import (
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/audit"
)

// TestCloseWhileOthersWrite closes a log under 8 writers: whatever was acknowledged is in it, and all else was refused.
func TestCloseWhileOthersWrite(t *testing.T) {
	for range 20 {
		dir := t.TempDir()
		l := open(t, dir, audit.Options{})
		var all sync.WaitGroup
		acknowledged := make(chan string, 1<<16)
		failed := make(chan error, 8)
		started := make(chan struct{}, 1<<16)
		for g := range 8 {
			all.Go(func() {
				for i := 0; ; i++ {
					op := strconv.Itoa(g) + "-" + strconv.Itoa(i)
					started <- struct{}{}
					err := l.Record(t.Context(), audit.Entry{Operation: op})
					if err != nil {
						failed <- err
						return
					}
					acknowledged <- op
				}
			})
		}
		for range 20 {
			<-started
		}
		require.NoError(t, l.Close())
		all.Wait()
		close(failed)
		close(acknowledged)
		for err := range failed {
			require.ErrorIs(t, err, audit.ErrClosed)
		}
		there := make(map[string]bool)
		for _, r := range records(t, dir) {
			there[r.Operation] = true
		}
		for op := range acknowledged {
			require.True(t, there[op], op)
		}
		verify(t, dir, audit.VerifyOptions{})
	}
}

// TestHeadsAreLogged looks at what is told where heads may be noted.
func TestHeadsAreLogged(t *testing.T) {
	dir := t.TempDir()
	var words lockedBuffer
	var head audit.Head
	synctest.Test(t, func(t *testing.T) {
		l := open(t, dir, audit.Options{Logger: words.logger()})
		require.Contains(t, words.String(), "audit_head="+l.Head().String())
		sleepPast(2 * time.Hour)
		require.Equal(t, 1, strings.Count(words.String(), "audit_head="), "nothing has changed")
		require.NoError(t, l.Record(t.Context(), audit.Entry{Operation: "reload"}))
		head = l.Head()
		sleepPast(2 * time.Minute)
		require.Contains(t, words.String(), "audit_head="+head.String())
		require.NoError(t, l.Record(t.Context(), audit.Entry{Operation: "reload"}))
		sleepPast(2 * time.Minute)
		require.Equal(t, 2, strings.Count(words.String(), "audit_head="), "once an hour")
		require.NoError(t, l.Close())
		require.Contains(t, words.String(), "audit_head="+l.Head().String())
	})
	verify(t, dir, audit.VerifyOptions{Head: &head})
}
