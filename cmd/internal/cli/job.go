package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/google/uuid"
	commonconfig "github.com/prometheus/common/config"
)

const (
	// jobAgent begins the User-Agent, by which the server knows that this command pings.
	jobAgent  = "clanmon-job/"
	tokenEnv  = "CLANMON_PING_TOKEN"
	tokenDir  = "/etc/clanmon/ping"
	pingLimit = 10 * time.Second // of one attempt
	pauseMin  = time.Second      // between attempts, doubled each time
	pauseMax  = 30 * time.Second
)

// JobCommand runs a command and reports its start, duration and exit code to a server. What it
// cannot report changes nothing of the command: it runs, and its exit code is passed on.
type JobCommand struct {
	env     Env
	app     *kingpin.Application
	name    string
	command []string

	server, tokenFile, clientFile string
	retry                         time.Duration
}

// NewJobCommand returns the command; called is what help calls it.
func NewJobCommand(e Env, called string) *JobCommand {
	c := &JobCommand{env: e}
	c.app = NewApp(called, "Run a command, given after --, and report its start, duration and exit code to a server. Its exit code is passed on, 128 and the signal's number if a signal ended it. Signals are passed to it. It runs whether or not the server can be reached.", e)
	c.app.Arg("name", "Name of the job. The token is read from "+tokenDir+"/NAME, unless --token-file or $"+tokenEnv+" is set.").Required().StringVar(&c.name)
	c.app.Flag("server", "URL of the server.").Default("http://localhost:9090").Envar("CLANMON_SERVER").StringVar(&c.server)
	c.app.Flag("token-file", "Path to a file with the token of the job.").PlaceHolder("FILE").StringVar(&c.tokenFile)
	c.app.Flag("retry", "Maximum time to retry reporting the end.").Default("5m").DurationVar(&c.retry)
	c.app.Flag("http.config.file", "HTTP client configuration file, see details at https://prometheus.io/docs/prometheus/latest/configuration/promtool").PlaceHolder("FILE").StringVar(&c.clientFile)
	return c
}

// Application is for help, completion and the manual page.
func (c *JobCommand) Application() *kingpin.Application { return c.app }

// ownSignals: they are the command's.
func (c *JobCommand) ownSignals() {}

// Parse implements Command.
func (c *JobCommand) Parse(args []string) error {
	own := args
	for i, a := range args {
		if a == "--" {
			own, c.command = args[:i], args[i+1:]
			break
		}
	}
	if err := ParseFlags(c.app, own); err != nil {
		return err
	}
	if len(c.command) == 0 {
		return UsageError("the command is missing: %s NAME -- COMMAND [ARGUMENT…]", c.app.Name)
	}
	return nil
}

// Run implements Command.
func (c *JobCommand) Run(ctx context.Context) error {
	p, err := c.pinger()
	if err != nil {
		c.complain(err)
	}
	begin, run := time.Now(), uuid.NewString()
	started := make(chan struct{})
	stop, cancel := context.WithCancel(ctx)
	go func() {
		defer close(started)
		_ = p.send(stop, "start", func() url.Values { return since(begin, run) }) // the end says whether the server can be reached
	}()
	code, err := c.execute()
	if err != nil {
		c.complain(err)
	}
	end := time.Now()
	cancel() // a start that has not arrived is worth nothing now
	<-started
	stop, cancel = context.WithTimeout(ctx, c.retry)
	defer cancel()
	if err := p.send(stop, strconv.Itoa(code), func() url.Values {
		v := since(end, run)
		v.Set("duration", seconds(end.Sub(begin)))
		return v
	}); err != nil {
		c.complain(fmt.Errorf("the end of job %q is not reported: %w", c.name, err))
	}
	if code == 0 {
		return nil
	}
	return &ExitError{Code: code}
}

func (c *JobCommand) complain(err error) { fmt.Fprintf(c.env.Stderr, "%s: %v\n", c.app.Name, err) }

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }

// since says how long before the request something of a run was, since clocks may differ. By the
// run's ID the server knows which start and end belong together, in whichever order they arrive.
func since(t time.Time, run string) url.Values {
	return url.Values{"ago": {seconds(time.Since(t))}, "rid": {run}}
}

// execute runs the command and returns its exit code, as a shell has it.
func (c *JobCommand) execute() (int, error) {
	cmd := exec.Command(c.command[0], c.command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.env.Stdin, c.env.Stdout, c.env.Stderr
	passed := []os.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGINT}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, passed...)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return 126, err
		}
		return 127, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			if s == syscall.SIGINT && onTerminal() {
				continue // which has sent it to the command too
			}
			_ = cmd.Process.Signal(s) // it may just have ended
		case err := <-ended:
			state := cmd.ProcessState
			if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
				return 128 + int(status.Signal()), nil
			}
			if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
				return max(state.ExitCode(), 1), err
			}
			return state.ExitCode(), nil
		}
	}
}

func onTerminal() bool {
	info, err := os.Stdin.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// pinger sends pings; the zero value, of a job without a token, sends none.
type pinger struct {
	client *http.Client
	base   string // has the token: in no message
	server string
}

func (c *JobCommand) pinger() (pinger, error) {
	token, err := c.token()
	if err != nil {
		return pinger{}, err
	}
	base, err := url.JoinPath(c.server, "ping", url.PathEscape(token))
	if u, parseErr := url.Parse(c.server); err != nil || parseErr != nil || u.Host == "" {
		return pinger{}, fmt.Errorf("job %q is not reported: --server %q must be a URL such as http://hub:9090", c.name, c.server)
	}
	p := pinger{client: &http.Client{}, base: base, server: c.server}
	if c.clientFile != "" {
		cfg, _, err := commonconfig.LoadHTTPConfigFile(c.clientFile)
		if err == nil {
			p.client, err = commonconfig.NewClientFromConfig(*cfg, "clanmon")
		}
		if err != nil {
			return pinger{}, fmt.Errorf("job %q is not reported: --http.config.file %q: %w", c.name, c.clientFile, err)
		}
	}
	p.client.Timeout = pingLimit
	return p, nil
}

func (c *JobCommand) token() (string, error) {
	if t := strings.TrimSpace(os.Getenv(tokenEnv)); t != "" && c.tokenFile == "" {
		return t, nil
	}
	file := cmp.Or(c.tokenFile, filepath.Join(tokenDir, filepath.Base(c.name)))
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("job %q is not reported: read its token: %w; set --token-file or $%s", c.name, err, tokenEnv)
	}
	if t := strings.TrimSpace(string(text)); t != "" {
		return t, nil
	}
	return "", fmt.Errorf("job %q is not reported: %q has no token", c.name, file)
}

// errRefused is an answer that another attempt would not change.
var errRefused = errors.New("refused")

// send pings until it is answered or ctx ends.
func (p pinger) send(ctx context.Context, action string, query func() url.Values) error {
	if p.client == nil {
		return nil
	}
	for pause := pauseMin; ; pause = min(2*pause, pauseMax) {
		err := p.once(ctx, action, query())
		if err == nil || errors.Is(err, errRefused) {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

func (p pinger) once(ctx context.Context, action string, query url.Values) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.base+"/"+action+"?"+query.Encode(), nil)
	if err != nil {
		return fmt.Errorf("%w: --server %q is not a URL", errRefused, p.server)
	}
	req.Header.Set("User-Agent", jobAgent+BuildVersion)
	resp, err := p.client.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // without the URL, which has the token
		}
		return fmt.Errorf("%s: %w", p.server, err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
	switch {
	case resp.StatusCode < 300:
		return nil
	case resp.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%w: %s knows no job with this token", errRefused, p.server)
	case resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusRequestTimeout:
		return fmt.Errorf("%w: %s responds with %s: %s", errRefused, p.server, resp.Status, strings.TrimSpace(string(text)))
	}
	return fmt.Errorf("%s responds with %s", p.server, resp.Status)
}
