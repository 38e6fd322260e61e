package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/common/model"
)

// transferer expands wildcard names by zone transfer.
type transferer struct {
	resolvConf string
	timeout    time.Duration
}

func newTransferer() *transferer {
	return &transferer{resolvConf: "/etc/resolv.conf", timeout: 5 * time.Second}
}

// maxRecords bounds a zone: no fleet that fits this server has more.
const maxRecords = 200_000

// targets are the names below a wildcard that have records of that type.
func (t *transferer) targets(ctx context.Context, wildcard, recordType string, port int) ([]model.LabelSet, error) {
	below := dns.CanonicalName(strings.TrimPrefix(wildcard, "*."))
	conf, err := dns.ClientConfigFromFile(t.resolvConf)
	if err != nil {
		return nil, fmt.Errorf("name servers: %w", err)
	}
	zone, err := t.zone(ctx, conf, below)
	if err != nil {
		return nil, err
	}
	var errs []error
	answered := true
	for _, server := range t.servers(ctx, conf, zone) {
		records, err := t.transfer(ctx, zone, server)
		if err == nil {
			return pick(records, wildcard, below, recordType, port), nil
		}
		if _, ok := errors.AsType[*dns.Error](err); !ok {
			answered = false
		}
		errs = append(errs, fmt.Errorf("zone %s from %s: %w", zone, server, err))
	}
	if answered {
		errs = append(errs, errNotPermitted)
	}
	return nil, errors.Join(errs...)
}

// errNotPermitted is part of an error when all name servers answered, with a no.
var errNotPermitted = errors.New("no name server allows the transfer")

// ask sends one question to the name servers of this machine.
func (t *transferer) ask(ctx context.Context, conf *dns.ClientConfig, name string, qtype uint16) (*dns.Msg, error) {
	client := &dns.Client{Timeout: t.timeout}
	var errs []error
	for _, server := range conf.Servers {
		q := new(dns.Msg).SetQuestion(name, qtype)
		res, _, err := client.ExchangeContext(ctx, q, net.JoinHostPort(server, conf.Port))
		if err == nil {
			return res, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// zone is the zone that a name is in: the answer to a question for its SOA
// record names it, in one section or the other.
func (t *transferer) zone(ctx context.Context, conf *dns.ClientConfig, name string) (string, error) {
	res, err := t.ask(ctx, conf, name, dns.TypeSOA)
	if err != nil {
		return "", fmt.Errorf("zone of %s: %w", name, err)
	}
	for _, record := range slices.Concat(res.Answer, res.Ns) {
		if soa, ok := record.(*dns.SOA); ok && dns.IsSubDomain(soa.Hdr.Name, name) {
			return dns.CanonicalName(soa.Hdr.Name), nil
		}
	}
	return name, nil // small name servers have no SOA records; the transfer tells
}

// servers are those to ask for a zone: its own, then those of this machine.
func (t *transferer) servers(ctx context.Context, conf *dns.ClientConfig, zone string) []string {
	var servers []string
	if res, err := t.ask(ctx, conf, zone, dns.TypeNS); err == nil {
		for _, record := range res.Answer {
			ns, ok := record.(*dns.NS)
			if !ok {
				continue
			}
			ctx, cancel := context.WithTimeout(ctx, t.timeout)
			addrs, _ := net.DefaultResolver.LookupHost(ctx, ns.Ns)
			cancel()
			for _, a := range addrs {
				servers = append(servers, net.JoinHostPort(a, "53"))
			}
		}
	}
	for _, s := range conf.Servers {
		if hp := net.JoinHostPort(s, conf.Port); !slices.Contains(servers, hp) {
			servers = append(servers, hp)
		}
	}
	return servers
}

func (t *transferer) transfer(ctx context.Context, zone, server string) ([]dns.RR, error) {
	conn, err := (&net.Dialer{Timeout: t.timeout}).DialContext(ctx, "tcp", server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()

	tr := &dns.Transfer{Conn: &dns.Conn{Conn: conn}, ReadTimeout: t.timeout, WriteTimeout: t.timeout}
	q := new(dns.Msg)
	q.SetAxfr(zone)
	envelopes, err := tr.In(q, server)
	if err != nil {
		return nil, err
	}
	var records []dns.RR
	for e := range envelopes {
		if e.Error != nil {
			err = e.Error
		} else if records = append(records, e.RR...); len(records) > maxRecords {
			err = fmt.Errorf("more than %d records", maxRecords)
			conn.Close() // ends the transfer; what is under way is still drained
		}
	}
	if err != nil {
		return nil, err
	}
	return records, nil
}

// pick makes targets of the records below a name. A CNAME counts as what it
// leads to within the zone.
func pick(records []dns.RR, wildcard, below, recordType string, port int) []model.LabelSet {
	typ := dns.StringToType[strings.ToUpper(recordType)]
	byName := make(map[string][]dns.RR)
	aliases := make(map[string]string)
	for _, r := range records {
		name := dns.CanonicalName(r.Header().Name)
		if c, ok := r.(*dns.CNAME); ok {
			aliases[name] = dns.CanonicalName(c.Target)
		} else if r.Header().Rrtype == typ {
			byName[name] = append(byName[name], r)
		}
	}
	for alias := range aliases {
		target := alias
		for range 8 { // longer chains, and rings, lead nowhere
			next, ok := aliases[target]
			if !ok {
				break
			}
			target = next
		}
		if found := byName[target]; found != nil {
			byName[alias] = found
		}
	}
	names := make([]string, 0, len(byName))
	for name := range byName {
		if name != below && dns.IsSubDomain(below, name) && !strings.HasPrefix(name, "*.") {
			names = append(names, name)
		}
	}
	slices.Sort(names)

	var targets []model.LabelSet
	for _, name := range names {
		for _, r := range byName[name] {
			host, p, machine := "", port, name
			switch r := r.(type) {
			case *dns.A:
				host = r.A.String()
			case *dns.AAAA:
				host = r.AAAA.String()
			case *dns.SRV:
				host, p, machine = strings.TrimSuffix(r.Target, "."), int(r.Port), r.Target
			}
			targets = append(targets, model.LabelSet{
				model.AddressLabel: model.LabelValue(net.JoinHostPort(host, strconv.Itoa(p))),
				nameLabel:          model.LabelValue(wildcard),
				machineLabel:       model.LabelValue(machine),
			})
			if typ != dns.TypeSRV {
				break // a machine with several addresses is one machine
			}
		}
	}
	return targets
}
