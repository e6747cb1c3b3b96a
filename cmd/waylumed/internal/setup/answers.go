package setup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/waylume/waylume/cmd/waylumed/internal/config"
)

// Who manages a node.
const (
	Local  = "local"  // commands and programs of this host
	Remote = "remote" // a control plane elsewhere
)

// Unix is the answer, or one of several, for an API at a unix socket in the directory of the state, where commands look for it.
const Unix = "unix"

// Answers are what a person decides. An empty text is not decided yet.
type Answers struct {
	Purpose           string // Local or Remote
	Endpoint          string
	ListenPort        string
	Dataplane         string
	Listen            string // addresses as api.listen has them, or Unix
	CertFile, KeyFile string // for TLS; of an address that needs it
	Production, Key   Choice
	KID               string
}

// Choice is a yes or a no, or not decided.
type Choice string

// The choices.
const (
	Yes Choice = "yes"
	No  Choice = "no"
)

func choose(yes bool) Choice {
	if yes {
		return Yes
	}
	return No
}

// exposed says that other hosts reach the API.
func (a *Answers) exposed() bool {
	for _, text := range a.addresses("", "") {
		if at, err := config.ParseAddress(text); err == nil && !at.Loopback() {
			return true
		}
	}
	return false
}

// tcp says that the API is not at unix sockets alone.
func (a *Answers) tcp() bool {
	for _, text := range a.addresses("", "") {
		if !strings.HasPrefix(text, "unix:") {
			return true
		}
	}
	return false
}

// addresses are those of Listen; relative paths count from dir, and Unix is the address socket.
func (a *Answers) addresses(dir, socket string) (list []string) {
	for text := range strings.SplitSeq(a.Listen, ",") {
		text = strings.TrimSpace(text)
		if path, ok := strings.CutPrefix(text, "unix:"); ok {
			text = "unix:" + absolute(dir, path)
		}
		if text == Unix {
			text = socket
		}
		if text != "" {
			list = append(list, text)
		}
	}
	return list
}

// decide gives each answer that is not there what is best by default, or what ask makes of that.
func (a *Answers) decide(now time.Time, ask func(about question, best string) (string, error)) error {
	var err error
	decide := func(field *string, about question, best string) {
		if *field == "" && err == nil {
			*field, err = ask(about, best)
		}
	}
	// yes or no as an answer
	either := func(field *Choice, text string, best bool) {
		decide((*string)(field), question{text: text, check: oneOf(string(Yes), string(No))}, string(choose(best)))
	}
	decide(&a.Purpose, question{
		text:  "Who manages the node: commands and programs of this host (local), or a control plane elsewhere (remote)?",
		check: oneOf(Local, Remote),
	}, Local)
	decide(&a.Endpoint, question{"At which host name or address do devices reach it? Nothing: this host's own address",
		valid("node.endpoint")}, "")
	decide(&a.ListenPort, question{"On which UDP port?", valid("node.listen_port")}, "51820")
	decide(&a.Dataplane, question{"What moves the packets: auto, kernel or userspace?", valid("node.dataplane")},
		config.AutoDataplane)
	best := Unix
	if a.Purpose == Remote {
		best = Unix + ",:8443"
	}
	decide(&a.Listen, question{"Where does the API listen: at a unix socket (unix), at TCP addresses such as :8443, or at both?", listen},
		best)
	either(&a.Production, "Is it for production? Then TLS, signed requests and strict redaction are insisted on",
		a.Purpose == Remote)
	if a.exposed() || a.tcp() && a.Production == Yes {
		decide(&a.CertFile, question{"The file of the certificate for TLS, in PEM?", present}, "")
		decide(&a.KeyFile, question{"The file of its private key, in PEM, mode 0600?", present}, "")
	}
	if a.exposed() || a.Production == Yes {
		if a.Key == No && err == nil {
			err = errors.New("without a key nobody could sign a request, which an API beyond this host and one in production insist on: " +
				"leave --api-key out, or add api.auth.jwks or api.tls.client_ca_file to a file of your own")
		}
		a.Key = Yes
	}
	either(&a.Key, "Make a key that signs requests to the API?", false)
	if a.Key == Yes {
		decide(&a.KID, question{"What is the key called (its kid)?", kid}, "key-"+now.UTC().Format("20060102"))
	}
	return err
}

// question is one, and says of an answer what is wrong with it.
type question struct {
	text  string
	check func(string) error
}

func oneOf(answers ...string) func(string) error {
	return func(text string) error {
		if slices.Contains(answers, text) {
			return nil
		}
		return fmt.Errorf("%q is no answer: give %s", text, strings.Join(answers, " or "))
	}
}

func valid(key string) func(string) error {
	return func(text string) error { return config.Valid(key, text) }
}

func listen(text string) error {
	others := slices.DeleteFunc(strings.Split(text, ","), func(one string) bool { return strings.TrimSpace(one) == Unix })
	if len(others) == 0 {
		return nil
	}
	return config.Valid("api.listen", strings.Join(others, ","))
}

func present(text string) error {
	if text == "" {
		return errors.New("is needed for TLS: name the file")
	}
	return nil
}

// kid must do for the name of a file.
func kid(text string) error {
	for _, c := range text {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", c) {
			return fmt.Errorf("%q is no kid: use letters, digits, '-', '_' and '.'", text)
		}
	}
	if text == "" || text[0] == '.' || len(text) > 64 {
		return fmt.Errorf("%q is no kid: use 1 to 64 letters, digits, '-', '_' and '.', a letter or a digit first", text)
	}
	return nil
}

// byDefault takes what is best.
func byDefault(about question, best string) (string, error) {
	if err := about.check(best); err != nil {
		return "", fmt.Errorf("%s: %w: give the answer by a flag", about.text, err)
	}
	return best, nil
}

// asker asks a person.
type asker struct {
	out   io.Writer
	lines <-chan string
	ctx   context.Context //nolint:containedctx // it is that of one conversation
}

// lines reads in until it ends. The last read outlives the conversation if that is given up, as a terminal cannot be told to
// stop.
func lines(ctx context.Context, in io.Reader) <-chan string {
	c := make(chan string)
	go func() {
		defer close(c)
		scanner := bufio.NewScanner(in)
		for scanner.Scan() {
			select {
			case c <- strings.TrimSpace(scanner.Text()):
			case <-ctx.Done():
				return
			}
		}
	}()
	return c
}

// ask asks until an answer will do; nothing is what is best.
func (a asker) ask(about question, best string) (string, error) {
	for {
		fmt.Fprint(a.out, about.text)
		if best != "" {
			fmt.Fprintf(a.out, " [%s]", best)
		}
		fmt.Fprint(a.out, "\n> ")
		var answer string
		select {
		case <-a.ctx.Done():
			return "", a.ctx.Err()
		case line, ok := <-a.lines:
			if err := a.ctx.Err(); !ok && err != nil {
				return "", err // who gave up also ends the lines
			}
			if !ok {
				return "", errors.New("the answers ended before the questions: nothing was written. Give them by flags, with --yes")
			}
			answer = line
		}
		if answer == "" {
			answer = best
		}
		err := about.check(answer)
		if err == nil {
			return answer, nil
		}
		fmt.Fprintf(a.out, "%v\n", err)
	}
}
