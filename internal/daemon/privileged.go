package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"sync"

	"github.com/multilink-vpn/multilink/internal/conf"
	"github.com/multilink-vpn/multilink/internal/hook"
	"github.com/multilink-vpn/multilink/internal/netif"
)

// privileged is what a daemon does as root even after it has given that up: it reads its
// configuration again, and changes the addresses of its interface.
type privileged interface {
	read() (*conf.Files, error)
	// address adds addresses to the interface and removes others.
	address(add, remove []netip.Prefix) error
	close()
}

// task says what a privileged process works on. It is fixed before anything comes from
// the network: a compromised daemon can have this configuration read and give this
// interface addresses, and nothing else.
type task struct {
	Config    string // path of the configuration file
	Interface string
}

func (t task) read() (*conf.Files, error) { return conf.Read(t.Config) }

func (t task) address(add, remove []netip.Prefix) error {
	if err := netif.Configure(netif.Config{Name: t.Interface, Addrs: add}); err != nil {
		return err
	}
	return netif.Deconfigure(netif.Config{Name: t.Interface, Addrs: remove})
}

func (t task) close() {}

// PrivilegedCommand is the argument that makes the program do what a daemon without
// privileges needs them for: it calls ServePrivileged.
const PrivilegedCommand = "run-privileged"

// request and reply are what the two processes say to each other, one line of JSON each.
type request struct {
	Read        bool
	Add, Remove []netip.Prefix
}

type reply struct {
	Files *conf.Files
	Err   string
}

// remoteTask does a task in another process, which stays root.
type remoteTask struct {
	cmd *exec.Cmd

	mu  sync.Mutex // held during a request
	in  *json.Encoder
	out *json.Decoder
	end func()
}

// startPrivileged starts another process for a task: this program, as it was started.
func startPrivileged(t task) (*remoteTask, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("privileged process: %w", err)
	}
	cmd := exec.Command(self, PrivilegedCommand)
	cmd.Env, cmd.Stderr = []string{}, os.Stderr
	hook.Detach(cmd) // a signal from the terminal is for the daemon, which then stops it
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("privileged process: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("privileged process: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("privileged process: %w", err)
	}
	r := &remoteTask{cmd: cmd, in: json.NewEncoder(in), out: json.NewDecoder(out), end: func() { in.Close() }}
	return r, r.in.Encode(t)
}

func (r *remoteTask) ask(q request) (*conf.Files, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var a reply
	err := r.in.Encode(q)
	if err == nil {
		err = r.out.Decode(&a)
	}
	if err != nil {
		return nil, fmt.Errorf("the privileged process does not answer: %w: restart the daemon", err)
	}
	if a.Err != "" {
		return nil, errors.New(a.Err)
	}
	return a.Files, nil
}

func (r *remoteTask) read() (*conf.Files, error) {
	files, err := r.ask(request{Read: true})
	if err == nil && files == nil {
		err = errors.New("the privileged process has read nothing")
	}
	return files, err
}

func (r *remoteTask) address(add, remove []netip.Prefix) error {
	_, err := r.ask(request{Add: add, Remove: remove})
	return err
}

// becomeUser gives up root for the user of the options, if there is one, and returns what
// still has it.
func becomeUser(c *conf.Config, opts Options) (privileged, error) {
	t := task{Config: opts.Config, Interface: c.Interface}
	if opts.User == "" {
		return t, nil
	}
	remote, err := startPrivileged(t)
	if err != nil {
		return nil, err
	}
	if err := dropPrivileges(c, opts); err != nil {
		remote.close()
		return nil, err
	}
	return remote, nil
}

// close ends the other process and waits for it.
func (r *remoteTask) close() {
	r.end()
	r.cmd.Wait()
}

// ServePrivileged is the other process: it does what comes from in until that ends.
func ServePrivileged(in io.Reader, out io.Writer) error {
	requests, replies := json.NewDecoder(in), json.NewEncoder(out)
	var t task
	if err := requests.Decode(&t); err != nil {
		return fmt.Errorf("privileged process: reading the task: %w", err)
	}
	for {
		var q request
		if err := requests.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("privileged process: reading a request: %w", err)
		}
		var a reply
		var err error
		if q.Read {
			a.Files, err = t.read()
		} else {
			err = t.address(q.Add, q.Remove)
		}
		if err != nil {
			a.Err = err.Error()
		}
		if err := replies.Encode(a); err != nil {
			return fmt.Errorf("privileged process: answering: %w", err)
		}
	}
}
