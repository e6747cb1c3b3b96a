package bench

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
)

// roleVariable has this program be one of the processes that are measured.
const roleVariable = "WAYLUME_BENCH_ROLE"

// Roles of a process.
const (
	roleExit   = "exit"
	roleClient = "client"
)

// Kinds of requests.
const (
	askStart   = "start"
	askUp      = "up"
	askApply   = "apply"
	askStats   = "stats"
	askUsage   = "usage"
	askProfile = "profile"
)

// request is what a process is asked for.
type request struct {
	ID       int
	Kind     string
	Exit     exitOrder
	Client   clientOrder
	Change   wgnode.Change
	Query    wgnode.StatsQuery
	Profile  string
	Duration time.Duration
}

// reply answers a request.
type reply struct {
	ID      int
	Err     string
	Port    uint16
	Stats   wgnode.Stats
	Usage   usage
	Profile []byte
}

// event is a [wgnode.DataplaneEvent].
type event struct {
	Kind    wgnode.DataplaneEventKind
	Peer    wgtypes.Key
	Account string
	Err     string
	// At is when the node was told, by its process's clock, Heard when it was heard of here: one machine, one clock.
	At, Heard time.Time
}

// message is what a process says: one of the two.
type message struct {
	Reply *reply
	Event *event
}

// usage is what a process takes of the machine.
type usage struct {
	// RSS is resident memory in bytes, Peak the most that it ever was, Heap what the Go heap has in use.
	RSS, Peak, Heap uint64
	// CPU is the time of processors since the start.
	CPU        time.Duration
	Goroutines int
}

// service is a role.
type service interface {
	answer(request) (reply, error)
	// tell is where what happens is told.
	tell(func(event))
	close() error
}

// serve answers requests until the input ends. It returns the code to exit with.
func serve(s service) int {
	var mu sync.Mutex
	out := gob.NewEncoder(os.Stdout)
	say := func(m message) {
		mu.Lock()
		defer mu.Unlock()
		if err := out.Encode(m); err != nil {
			fmt.Fprintln(os.Stderr, "say:", err)
			os.Exit(1) // who listened is gone
		}
	}
	s.tell(func(e event) { say(message{Event: &e}) })
	var wg sync.WaitGroup
	for in := gob.NewDecoder(os.Stdin); ; {
		var r request
		if err := in.Decode(&r); err != nil {
			wg.Wait()
			if err = errors.Join(ignoreEOF(err), s.close()); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			return 0
		}
		wg.Go(func() {
			answer, err := common(r)
			if errors.Is(err, errors.ErrUnsupported) {
				answer, err = s.answer(r)
			}
			answer.ID = r.ID
			if err != nil {
				answer.Err = err.Error()
			}
			say(message{Reply: &answer})
		})
	}
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// common answers what every role does.
func common(r request) (answer reply, err error) {
	switch r.Kind {
	case askUsage:
		answer.Usage, err = readUsage()
	case askProfile:
		answer.Profile, err = profile(r.Profile, r.Duration)
	default:
		err = errors.ErrUnsupported
	}
	return answer, err
}

func readUsage() (u usage, err error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return usage{}, err
	}
	for line := range strings.Lines(string(status)) {
		const kibi = 1024
		var n uint64
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &n); err == nil {
			u.RSS = n * kibi
		}
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &n); err == nil {
			u.Peak = n * kibi
		}
	}
	var times unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &times); err != nil {
		return usage{}, err
	}
	u.CPU = time.Duration(times.Utime.Nano() + times.Stime.Nano())
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u.Heap, u.Goroutines = m.HeapInuse, runtime.NumGoroutine()
	return u, nil
}

// profile is a profile of package pprof in its own format: "cpu", "mutex" or "block" over so long, or "heap", "allocs" or
// "goroutine" as it is.
func profile(kind string, d time.Duration) ([]byte, error) {
	var out bytes.Buffer
	switch kind {
	case "cpu":
		if err := pprof.StartCPUProfile(&out); err != nil {
			return nil, err
		}
		time.Sleep(d)
		pprof.StopCPUProfile()
		return out.Bytes(), nil
	case "mutex":
		defer runtime.SetMutexProfileFraction(runtime.SetMutexProfileFraction(1))
		time.Sleep(d)
	case "block":
		runtime.SetBlockProfileRate(1)
		defer runtime.SetBlockProfileRate(0)
		time.Sleep(d)
	}
	p := pprof.Lookup(kind)
	if p == nil {
		return nil, fmt.Errorf("no profile %q", kind)
	}
	err := p.WriteTo(&out, 0)
	return out.Bytes(), err
}
