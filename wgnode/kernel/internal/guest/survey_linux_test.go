package guest_test

import (
	"fmt"
	"os/exec"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/kernel/internal/guest"
	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
)

// Tables of others are found with whose they are and what they do by default; ours, and those that judge nothing at these
// hooks, are not among them.
func TestSurvey(t *testing.T) {
	conn := open(t)
	base := func(hook, policy, rules string) string {
		return "chain " + hook + " {\ntype filter hook " + hook + " priority 0; policy " + policy + ";\n" + rules + "\n}\n"
	}
	load(t, "table ip filter {\nchain DOCKER-USER {\n}\nchain ufw-before-forward {\n}\n"+
		base("forward", "drop", "jump DOCKER-USER\njump ufw-before-forward")+base("input", "accept", "ip saddr 192.0.2.1 drop")+"}\n"+
		"table ip6 docker-bridges {\n"+base("forward", "accept", "")+"}\n"+
		"table inet mine {\n"+base("input", "accept", "tcp dport 22 accept\nreject")+"}\n"+
		"table inet sleeps {\nflags dormant\n"+base("forward", "drop", "")+"}\n"+
		"table ip nat {\nchain out {\ntype nat hook postrouting priority 100;\nmasquerade\n}\n}\n"+
		"table inet waylume_wl0 {\n"+base("forward", "drop", "")+"}\n"+
		"table bridge b {\n"+base("forward", "drop", "")+"}\n")
	found, err := guest.Survey(conn)
	require.NoError(t, err)
	var lines []string
	for _, f := range found {
		lines = append(lines, fmt.Sprintf("%d %s %v forward %t input %t locked %t", f.Family, f.Name, f.Programs, f.Forward, f.Input, f.Locked))
	}
	require.Equal(t, []string{
		"1 mine [] forward false input true locked false",
		"2 filter [Docker ufw] forward true input false locked false",
		"10 docker-bridges [Docker] forward false input false locked false",
	}, lines)
	require.Zero(t, conn.Commits())
}

// A table that a process owns is found as locked.
func TestSurveyLocked(t *testing.T) {
	conn := open(t)
	load(t, "")
	owner := exec.Command("nft", "-i")
	in, err := owner.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, owner.Start())
	t.Cleanup(func() {
		require.NoError(t, in.Close())
		require.NoError(t, owner.Wait())
	})
	_, err = in.Write([]byte("add table inet firewalld { flags owner; chain f { type filter hook forward priority 0; policy drop; }; }\n"))
	require.NoError(t, err)
	want := guest.Found{Table: nft.Table{Family: nft.Inet, Name: "firewalld"}, Programs: []string{"firewalld"}, Forward: true, Locked: true}
	require.Eventually(t, func() bool {
		found, err := guest.Survey(conn)
		return err == nil && len(found) == 1 && reflect.DeepEqual(found[0], want)
	}, 10*time.Second, 10*time.Millisecond)
}
