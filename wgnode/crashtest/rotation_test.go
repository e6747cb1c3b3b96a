package crashtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
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

// rotationVariable asks the test program to be a node that does nothing but change its key: it is the directory of its state, and
// keyFileVariable the key's file, if the state does not have it.
const (
	rotationVariable = "WAYLUME_CRASHTEST_ROTATION"
	keyFileVariable  = "WAYLUME_CRASHTEST_KEY_FILE"
)

// killsInRotation is how many nodes are killed with the key in a file, and without.
const killsInRotation = 25

// serveRotation is the process: it says which key it has, and before and after each rotation which one it is to have.
func serveRotation(dir, keyFile string) int {
	if err := rotateAlways(dir, keyFile); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return 1
}

func rotateAlways(dir, keyFile string) error {
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
	fmt.Println("has", status.PublicKey)
	for {
		private, err := wgtypes.GeneratePrivateKey()
		if err != nil {
			return err
		}
		fmt.Println("tries", private.PublicKey())
		if _, err := node.RotateKey(ctx, wgnode.KeyRotation{PrivateKey: private}); err != nil {
			return err
		}
		fmt.Println("has", private.PublicKey())
	}
}

// TestRotation kills nodes that change their key all the time. The next has the key that the one before had last, or the one that
// it was about to have; it is where it belongs, and no other is left.
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
	for name, file := range map[string]string{"in store": "", "in file": "node.key"} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			dir := t.TempDir()
			if file != "" {
				file = filepath.Join(dir, file)
			}
			var known []string // what the next may have
			made, atOnce := 0, 0
			for range kills {
				said, err := lifeOfRotation(dir, file, time.Duration(r.IntN(20_000))*time.Microsecond)
				require.NoError(t, err, "seed %d", seed)
				if len(known) > 0 {
					require.Contains(t, known, said[0].key, "the key that there was is lost, seed %d", seed)
				}
				last := said[len(said)-1]
				known = []string{last.key}
				if last.verb == "tries" {
					known = append(known, said[len(said)-2].key)
					atOnce++
				}
				made += len(said) / 2
				require.NoError(t, keyIsIn(dir, file), "seed %d", seed)
			}
			t.Logf("%d rotations, %d nodes killed in one", made, atOnce)
		})
	}
}

// saying is one line of a node.
type saying struct{ verb, key string }

// lifeOfRotation runs a node and kills it some time after it has said which key it has.
func lifeOfRotation(dir, file string, after time.Duration) (said []saying, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var complaint strings.Builder
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), rotationVariable+"="+dir, keyFileVariable+"="+file)
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
		_, err := fmt.Fscanln(lines, &s.verb, &s.key)
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
	if secret := strings.Contains(record, `"private_key"`); secret != (file == "") {
		return fmt.Errorf("the store has the private key: %v", secret)
	}
	if file == "" {
		return nil
	}
	private, err := keyfile.Read(file)
	if err != nil {
		return err
	}
	if !strings.Contains(record, private.PublicKey().String()) {
		return fmt.Errorf("the store has %s, and the file the key of %s", record, private.PublicKey())
	}
	left, err := filepath.Glob(filepath.Join(dir, ".node.key.new-*"))
	if err == nil && len(left) > 1 {
		err = fmt.Errorf("%d files are left that nobody needs", len(left))
	}
	return err
}
