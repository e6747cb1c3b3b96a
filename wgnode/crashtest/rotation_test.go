package crashtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/boltstore"
	"github.com/waylume/waylume/wgnode/keyfile"
	"github.com/waylume/waylume/wgnode/userspace"
)

// rotationVariable asks the test program to be a node that does nothing but change its key: it is the directory of its state,
// keyFileVariable the key's file, if the state does not have it, and overlapVariable is set if keys shall overlap.
const (
	rotationVariable = "WAYLUME_CRASHTEST_ROTATION"
	keyFileVariable  = "WAYLUME_CRASHTEST_KEY_FILE"
	overlapVariable  = "WAYLUME_CRASHTEST_OVERLAP"
)

// killsInRotation is how many nodes are killed with the key in a file, and without.
const killsInRotation = 25

// serveRotation is the process: it says which keys it has, and before and after each change which it is to have.
func serveRotation(dir, keyFile string, overlap bool) int {
	if err := rotateAlways(dir, keyFile, overlap); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return 1
}

func rotateAlways(dir, keyFile string, overlap bool) error {
	store, err := boltstore.Open(filepath.Join(dir, "node.db"), boltstore.Options{LockTimeout: time.Second})
	if err != nil {
		return err
	}
	dp, err := userspace.New(userspace.Config{})
	if err != nil {
		return err
	}
	node, err := wgnode.New(wgnode.Config{Dataplane: dp, Store: store, PrivateKeyFile: keyFile})
	if err != nil {
		return err
	}
	ctx := context.Background()
	if err := node.Start(ctx); err != nil {
		return err
	}
	status, err := node.Status(ctx)
	if err != nil {
		return err
	}
	if status.Peers == 0 { // for whom another key would be refused
		if _, err := node.AddPeer(ctx, wgnode.PeerSpec{}); err != nil {
			return err
		}
	}
	now := saying{"has", status.PublicKey.String(), noKey}
	if status.FormerKey != (wgtypes.Key{}) {
		now.former = status.FormerKey.String()
	} else if _, err := os.Stat(keyFile + ".former"); keyFile != "" && err == nil {
		return errors.New("a former key is left that nobody may use")
	}
	fmt.Println(now.verb, now.key, now.former)
	for step := 0; ; step++ {
		private, err := wgtypes.GeneratePrivateKey()
		if err != nil {
			return err
		}
		next, change := private.PublicKey().String(), wgnode.KeyRotation{PrivateKey: private}
		var do func() error
		rotate := func() error {
			_, err := node.RotateKey(ctx, change)
			return err
		}
		switch {
		case overlap && now.former == noKey:
			change.Overlap = time.Hour
			now.key, now.former, do = next, now.key, rotate
		case overlap && step%4 < 2: // every other one
			now.former, do = noKey, func() error { return node.EndKeyOverlap(ctx) }
		default:
			now.key, now.former, do = next, noKey, rotate
		}
		fmt.Println("tries", now.key, now.former)
		if err := do(); err != nil {
			return err
		}
		fmt.Println("has", now.key, now.former)
	}
}

// TestRotation kills nodes that change their key all the time. The next has the keys that the one before had last, or those that
// it was about to have; they are where they belong, and no other is left.
func TestRotation(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no SIGKILL")
	}
	kills, seed := killsInRotation, *seedFlag
	if *killsFlag > 0 {
		kills = *killsFlag
	}
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	for name, mode := range map[string]struct {
		file    string
		overlap bool
	}{
		"in store": {"", false}, "in file": {"node.key", false},
		"in store, overlapping": {"", true}, "in file, overlapping": {"node.key", true},
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			dir, file := t.TempDir(), mode.file
			if file != "" {
				file = filepath.Join(dir, file)
			}
			var known []saying // what the next may have
			made, atOnce := 0, 0
			for range kills {
				said, err := lifeOfRotation(dir, file, mode.overlap, time.Duration(r.IntN(20_000))*time.Microsecond)
				require.NoError(t, err, "seed %d", seed)
				if len(known) > 0 {
					require.Contains(t, known, said[0], "the keys that there were are lost, seed %d", seed)
				}
				last := said[len(said)-1]
				if known = []saying{last}; last.verb == "tries" {
					known = append(known, said[len(said)-2])
					atOnce++
				}
				for i := range known {
					known[i].verb = "has"
				}
				made += len(said) / 2
				require.NoError(t, keyIsIn(dir, file), "seed %d", seed)
			}
			t.Logf("%d changes, %d nodes killed in one", made, atOnce)
		})
	}
}

// saying is one line of a node: its key, and the former one during an overlap.
type saying struct{ verb, key, former string }

// noKey stands for none.
const noKey = "none"

// lifeOfRotation runs a node and kills it some time after it has said which key it has.
func lifeOfRotation(dir, file string, overlap bool, after time.Duration) (said []saying, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var complaint strings.Builder
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), rotationVariable+"="+dir, keyFileVariable+"="+file)
	if overlap {
		cmd.Env = append(cmd.Env, overlapVariable+"=1")
	}
	cmd.Stderr = &complaint
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	killed := false
	for lines := bufio.NewReader(stdout); ; {
		var s saying
		_, err := fmt.Fscanln(lines, &s.verb, &s.key, &s.former)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("hear the process: %w", err), cmd.Process.Kill())
		}
		if said = append(said, s); len(said) == 1 {
			killed = true
			time.AfterFunc(after, func() { _ = cmd.Process.Kill() }) // which ends the lines
		}
	}
	_ = cmd.Wait() // says that it was killed
	if !killed || complaint.Len() > 0 {
		return nil, fmt.Errorf("the process ended by itself: %s", complaint.String())
	}
	return said, nil
}

// keyIsIn checks what a node that was killed has left: a key file that can be read, and the key in the store or there.
func keyIsIn(dir, file string) error {
	records, err := recordsIn(filepath.Join(dir, "node.db"))
	if err != nil {
		return err
	}
	record := records[recordID{wgnode.RecordNode, "private-key"}]
	if secret := strings.Contains(record, `private_key"`); secret != (file == "") {
		return fmt.Errorf("the store has the private key: %v", secret)
	}
	if file == "" {
		return nil
	}
	for _, name := range []string{file, file + ".former"} {
		private, err := keyfile.Read(name)
		if errors.Is(err, fs.ErrNotExist) && name != file {
			continue
		}
		if err != nil {
			return err
		}
		if !strings.Contains(record, private.PublicKey().String()) {
			return fmt.Errorf("the store has %s, and %s the key of %s", record, name, private.PublicKey())
		}
	}
	for _, base := range []string{"node.key", "node.key.former"} {
		left, err := filepath.Glob(filepath.Join(dir, "."+base+".new-*"))
		if err != nil {
			return err
		}
		if len(left) > 1 {
			return fmt.Errorf("%d files are left that nobody needs: %s", len(left), left)
		}
	}
	return nil
}
