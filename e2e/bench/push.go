package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"maps"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/clanmon/clanmon/e2e/bench/proc"
)

// outage is what happens to senders: the link to the receiver is cut, and while it is, they are
// killed and restarted.
type outage struct {
	interval  time.Duration   // between two gathers
	before    time.Duration   // with the link
	kills     []time.Duration // after the cut
	cut, back time.Duration   // without the link, and with it again
}

// sender is a program that sends what one machine has, with the exporter that it scrapes, if it
// is not one itself.
type sender struct {
	name    string
	job     string // of its series
	command string // {LINK} is where it sends, {NODE} what it scrapes, {ADDR} where it listens
	config  string // {CONFIG} in the command
	node    string // command of the exporter

	link         *link
	placeholders map[string]string
	dir          string
	process      *proc.Process
	exporter     *proc.Process // nil for none
	ended        float64       // CPU seconds of those that were killed
	own, both    []proc.Stat   // every second
	steady       int           // of own and both: when the link is cut
	cpu          [2][2]float64 // own and both: with the link, and in all
	disk         int64         // when the link is back
	fresh, done  time.Duration // after the link is back: the first new sample is stored, and the last old one
	old          float64       // samples of one series from before that
}

// benchPush sends what one machine has to one receiver, by three senders side by side.
func benchPush(small, oracle string, o outage) error {
	vmagent := filepath.Join(oracle, "vmagent")
	if _, err := os.Stat(vmagent); err != nil {
		log.Printf("%v: the part push is left out (e2e/bench/build-vmagent.sh builds it)", err)
		return nil
	}
	node := filepath.Join(oracle, "node_exporter") + " --web.listen-address={NODE}"
	scrape := fmt.Sprintf("global: {scrape_interval: %s, scrape_timeout: %s}\nscrape_configs:\n- job_name: %%s\n  static_configs: [{targets: [\"{NODE}\"]}]\n", o.interval, o.interval)
	senders := []*sender{
		{
			name: "vmagent", job: "vmagent", node: node, config: fmt.Sprintf(scrape, "vmagent"),
			command: vmagent + " -promscrape.config={CONFIG} -remoteWrite.url=http://{LINK}/api/v1/write -remoteWrite.tmpDataPath={DATA} -httpListenAddr={ADDR}",
		},
		{
			name: "Prometheus agent", job: "agent", node: node, config: fmt.Sprintf(scrape, "agent") + "remote_write: [{url: \"http://{LINK}/api/v1/write\"}]\n",
			command: filepath.Join(oracle, "prometheus") + " --agent --config.file={CONFIG} --storage.agent.path={DATA} --web.listen-address={ADDR}",
		},
		{
			name: "clanmon-exporter", job: "node",
			command: small + " --exporter=node --push=http://{LINK}/api/v1/write --history.path={DATA} --history.interval=" + o.interval.String(),
		},
	}
	dir, err := os.MkdirTemp("", "clanmon-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	receiver, stop, err := startReceiver(filepath.Join(oracle, "prometheus"), filepath.Join(dir, "receiver"))
	if err != nil {
		return err
	}
	defer stop()
	for _, s := range senders {
		defer s.stop()
		if err := s.prepare(filepath.Join(dir, s.job), receiver); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	begin := time.Now()
	for _, s := range senders {
		for len(receiver.samples(s.job, time.Now(), o.interval)) == 0 {
			if time.Since(begin) > time.Minute {
				text, _ := os.ReadFile(s.dir + ".log")
				return fmt.Errorf("%s: nothing arrived: %s", s.name, text)
			}
			rest(100 * time.Millisecond)
		}
	}
	each := func(do func(*sender)) {
		for _, s := range senders {
			do(s)
		}
	}
	watch := func(d time.Duration) {
		for end := time.Now().Add(d); time.Now().Before(end); rest(min(time.Second, time.Until(end))) {
			each((*sender).measure)
		}
	}
	log.Printf("push: link is there for %s", o.before)
	begin = time.Now()
	each(func(s *sender) { s.cpu[0] = s.seconds() })
	watch(o.before)
	log.Printf("push: link is cut for %s", o.cut)
	each(func(s *sender) {
		now := s.seconds()
		s.cpu[0] = [2]float64{now[0] - s.cpu[0][0], now[1] - s.cpu[0][1]}
		s.steady = len(s.own)
		s.link.cut()
	})
	var at time.Duration
	for _, kill := range o.kills {
		watch(kill - at)
		at = kill
		log.Print("push: kill and restart")
		each(func(s *sender) { err = errors.Join(err, s.restart()) })
		if err != nil {
			return err
		}
	}
	watch(o.cut - at)
	back := time.Now()
	each(func(s *sender) { s.disk = used(s.dir); s.link.plug() })
	log.Printf("push: link is back for %s", o.back)
	for time.Since(back) < o.back {
		each(func(s *sender) {
			s.measure()
			series := fmt.Sprintf("node_boot_time_seconds{job=%q}", s.job)
			if old := receiver.value("count_over_time("+series+"[1h])", back); old != s.old {
				s.old, s.done = old, time.Since(back)
			}
			if s.fresh == 0 && receiver.value("timestamp("+series+")", time.Now()) > float64(back.UnixMilli())/1000 {
				s.fresh = time.Since(back)
			}
		})
		rest(time.Second)
	}
	each(func(s *sender) { s.cpu[1] = s.seconds() })
	end := time.Now().Add(-2 * o.interval) // what is newer may be on its way

	var names []string
	each(func(s *sender) { names = append(names, s.name) })
	fmt.Printf("\n### Push: gathers every %s, link cut for %s of %s, senders killed %d times meanwhile; load average %s\n\n| |", o.interval, o.cut, o.before+o.cut+o.back, len(o.kills), loadAverage())
	each(func(s *sender) { fmt.Printf(" %s |", s.name) })
	fmt.Print("\n|---|")
	each(func(*sender) { fmt.Print("---|") })
	fmt.Println()
	var gathers, samples []tally
	each(func(s *sender) {
		series := receiver.samples(s.job, end, end.Sub(begin))
		samples = append(samples, tallyOf(series, begin, end, o.interval))
		for id := range series {
			if id != "node_boot_time_seconds" {
				delete(series, id)
			}
		}
		gathers = append(gathers, tallyOf(series, begin, end, o.interval))
	})
	line := func(name string, all []tally, value func(tally) string) {
		fmt.Printf("| %s |", name)
		for _, t := range all {
			fmt.Printf(" %s |", value(t))
		}
		fmt.Println()
	}
	line("gathers expected", gathers, func(t tally) string { return strconv.Itoa(t.stored + t.lost) })
	line("gathers lost", gathers, func(t tally) string { return strconv.Itoa(t.lost) })
	line("longest hole, s", gathers, func(t tally) string { return fmt.Sprintf("%.0f", t.hole.Seconds()) })
	line("samples expected", samples, func(t tally) string { return strconv.Itoa(t.stored + t.lost) })
	line("samples stored", samples, func(t tally) string { return strconv.Itoa(t.stored) })
	line("samples lost", samples, func(t tally) string { return strconv.Itoa(t.lost) })
	line("samples stored twice", samples, func(t tally) string { return strconv.Itoa(t.twice) })

	rows := []row{
		{name: "link is back: newest sample stored after, s"}, {name: "link is back: all samples stored after, s"}, {name: "sent, MB"}, {name: "queue or history on disk when the link is back, MiB"},
		{name: "RSS before the cut, MiB"}, {name: "RSS before the cut, with node_exporter, MiB"},
		{name: "anonymous RSS before the cut, MiB"}, {name: "anonymous RSS before the cut, with node_exporter, MiB"},
		{name: "highest RSS, MiB"}, {name: "highest anonymous RSS, MiB"}, {name: "highest anonymous RSS, with node_exporter, MiB"},
		{name: fmt.Sprintf("CPU s in the first %s", o.before)}, {name: fmt.Sprintf("CPU s in the first %s, with node_exporter", o.before)},
		{name: fmt.Sprintf("CPU s in all, with %d starts", 1+len(o.kills))}, {name: fmt.Sprintf("CPU s in all, with %d starts, with node_exporter", 1+len(o.kills))},
	}
	each(func(s *sender) {
		rss, anon := func(x proc.Stat) int64 { return x.RSS }, func(x proc.Stat) int64 { return x.Anon }
		at := func(all []proc.Stat, of func(proc.Stat) int64, p float64) float64 {
			var values []float64
			for _, x := range all {
				values = append(values, proc.MiB(of(x)))
			}
			return proc.Pct(values, p)
		}
		from := s.steady * 3 / 4
		for i, v := range []float64{
			s.fresh.Seconds(), s.done.Seconds(), float64(s.link.sent.Load()) / 1e6, proc.MiB(s.disk),
			at(s.own[from:s.steady], rss, .5), at(s.both[from:s.steady], rss, .5), at(s.own[from:s.steady], anon, .5), at(s.both[from:s.steady], anon, .5),
			at(s.own, rss, 1), at(s.own, anon, 1), at(s.both, anon, 1),
			s.cpu[0][0], s.cpu[0][1], s.cpu[1][0], s.cpu[1][1],
		} {
			rows[i].values = append(rows[i].values, v)
		}
	})
	table("Push, cost", names, rows)
	return nil
}

// prepare starts the sender and its exporter.
func (s *sender) prepare(dir string, r *receiver) error {
	s.dir = dir
	s.placeholders = map[string]string{"DATA": dir, "CONFIG": dir + ".yml"}
	for _, name := range []string{"NODE", "ADDR"} {
		address, err := freeAddress()
		if err != nil {
			return err
		}
		s.placeholders[name] = address
	}
	var err error
	if s.link, err = newLink(r.address); err != nil {
		return err
	}
	s.placeholders["LINK"] = s.link.listener.Addr().String()
	if s.node != "" {
		if s.exporter, err = proc.Start(s.node, s.placeholders, dir+".node.log"); err != nil {
			return err
		}
		config := strings.ReplaceAll(s.config, "{NODE}", s.placeholders["NODE"])
		config = strings.ReplaceAll(config, "{LINK}", s.placeholders["LINK"])
		if err := os.WriteFile(dir+".yml", []byte(config), 0o600); err != nil {
			return err
		}
	}
	s.process, err = proc.Start(s.command, s.placeholders, dir+".log")
	return err
}

// restart kills the sender, and starts it again at once.
func (s *sender) restart() (err error) {
	last, err := proc.Read(s.process.Pid)
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	s.ended += last.CPU
	_, _ = s.process.Stop(syscall.SIGKILL, time.Second)
	s.process, err = proc.Start(s.command, s.placeholders, s.dir+".log")
	return err
}

func (s *sender) stop() {
	for _, p := range []*proc.Process{s.process, s.exporter} {
		if p != nil {
			_, _ = p.Stop(syscall.SIGKILL, time.Second)
		}
	}
	if s.link != nil {
		s.link.listener.Close()
		s.link.cut()
	}
}

// now is what the kernel accounts to the sender, and with its exporter.
func (s *sender) now() (own, both proc.Stat) {
	own, _ = proc.Read(s.process.Pid)
	own.CPU += s.ended
	both = own
	if s.exporter != nil {
		x, _ := proc.Read(s.exporter.Pid)
		both.CPU, both.RSS, both.Anon = both.CPU+x.CPU, both.RSS+x.RSS, both.Anon+x.Anon
	}
	return own, both
}

func (s *sender) measure() {
	own, both := s.now()
	s.own, s.both = append(s.own, own), append(s.both, both)
}

// seconds are the CPU seconds of the sender, and with its exporter.
func (s *sender) seconds() [2]float64 {
	own, both := s.now()
	return [2]float64{own.CPU, both.CPU}
}

// used is what the files below a directory take on disk.
func used(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		if i, err := d.Info(); err == nil {
			n += i.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return nil
	})
	return n
}

// link is a connection to the receiver that can be cut, and counts what is sent.
type link struct {
	listener net.Listener
	to       string
	sent     atomic.Int64

	mu    sync.Mutex
	down  bool
	conns []net.Conn
}

func newLink(to string) (*link, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	k := &link{listener: l, to: to}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go k.pass(in)
		}
	}()
	return k, nil
}

func (k *link) pass(in net.Conn) {
	defer in.Close()
	out, err := net.Dial("tcp", k.to)
	if err != nil {
		return
	}
	defer out.Close()
	k.mu.Lock()
	down := k.down
	k.conns = append(k.conns, in, out)
	k.mu.Unlock()
	if down {
		return
	}
	go func() {
		_, _ = io.Copy(in, out)
		in.Close()
		out.Close()
	}()
	_, _ = io.Copy(out, io.TeeReader(in, counter{&k.sent}))
}

type counter struct{ n *atomic.Int64 }

func (c counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

func (k *link) cut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.down = true
	for _, c := range k.conns {
		c.Close()
	}
	k.conns = nil
}

func (k *link) plug() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.down = false
}

// receiver is a Prometheus that takes remote write.
type receiver struct{ address string }

func startReceiver(prometheus, dir string) (*receiver, func(), error) {
	address, err := freeAddress()
	if err != nil {
		return nil, nil, err
	}
	config := dir + ".yml"
	if err := os.WriteFile(config, []byte("storage: {tsdb: {out_of_order_time_window: 1h}}\n"), 0o600); err != nil {
		return nil, nil, err
	}
	p, err := proc.Start(prometheus+" --config.file={CONFIG} --storage.tsdb.path={DATA} --web.listen-address={ADDR} --web.enable-remote-write-receiver",
		map[string]string{"CONFIG": config, "DATA": dir, "ADDR": address}, dir+".log")
	if err != nil {
		return nil, nil, err
	}
	stop := func() { _, _ = p.Stop(syscall.SIGKILL, time.Second) }
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := p.WaitReady(ctx, "http://"+address+"/-/ready"); err != nil {
		stop()
		return nil, nil, err
	}
	return &receiver{address}, stop, nil
}

// found is a series of a response.
type found struct {
	Metric map[string]string
	Value  [2]any
	Values [][2]any
}

func (r *receiver) query(expr string, at time.Time) []found {
	res, err := http.PostForm("http://"+r.address+"/api/v1/query", url.Values{"query": {expr}, "time": {fmt.Sprintf("%.3f", float64(at.UnixMilli())/1000)}})
	if err != nil {
		log.Fatal("receiver: ", err)
	}
	defer res.Body.Close()
	var answer struct {
		Error string
		Data  struct{ Result []found }
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.Error != "" {
		log.Fatalf("receiver: %s: %v %s", expr, err, answer.Error)
	}
	return answer.Data.Result
}

// value is that of the first series, 0 if there is none.
func (r *receiver) value(expr string, at time.Time) float64 {
	all := r.query(expr, at)
	if len(all) == 0 {
		return 0
	}
	v, _ := strconv.ParseFloat(fmt.Sprint(all[0].Value[1]), 64)
	return v
}

// samples are the times of all samples of the node exporter in a range, by series.
func (r *receiver) samples(job string, at time.Time, back time.Duration) map[string][]time.Time {
	all := map[string][]time.Time{}
	for _, s := range r.query(fmt.Sprintf(`{job=%q,__name__=~"node_.+"}[%dms]`, job, back.Milliseconds()), at) {
		id := s.Metric["__name__"]
		for _, name := range slices.Sorted(maps.Keys(s.Metric)) {
			if name != "__name__" && name != "job" && name != "instance" {
				id += " " + name + "=" + s.Metric[name]
			}
		}
		for _, v := range s.Values {
			all[id] = append(all[id], time.UnixMilli(int64(math.Round(v[0].(float64)*1000))))
		}
	}
	return all
}

// tally is what arrived of some series.
type tally struct {
	stored, lost, twice int
	hole                time.Duration // the longest time between two samples
}

// tallyOf counts the samples of series that exist from begin to end. One is lost where two samples
// are more than 1.5 intervals apart, and one is there twice where they are less than 10 ms apart:
// no program gathers again that soon after a restart.
func tallyOf(series map[string][]time.Time, begin, end time.Time, interval time.Duration) (t tally) {
	edge := interval * 3 / 2
	for _, times := range series {
		if times[0].Sub(begin) > edge || end.Sub(times[len(times)-1]) > edge {
			continue // it began or ended meanwhile
		}
		t.stored += len(times)
		for i := range len(times) - 1 {
			apart := times[i+1].Sub(times[i])
			t.hole = max(t.hole, apart)
			switch {
			case apart > edge:
				t.lost += int(math.Round(float64(apart)/float64(interval))) - 1
			case apart < 10*time.Millisecond:
				t.twice++
			}
		}
	}
	return t
}

// loadAverage is the load average of the last 1, 5 and 15 minutes.
func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg")
	return strings.Join(strings.Fields(string(text))[:3], ", ")
}
