package config

import (
	"fmt"
	"os"
	"strings"

	"github.com/clanmon/clanmon/discovery/contract"
)

// LocalJob is a job that this process serves itself, without a port.
type LocalJob struct {
	Name string
	// Port is the one its exporter usually has; it only appears in the label
	// "instance", so that series keep their identity when the machine is one
	// day scraped over the network.
	Port int
	// Socket is where it is served: a path, or @ and a name.
	Socket string
}

// SelfJob is the job of the server's own metrics.
const SelfJob = "clanmon"

// localSuffix marks addresses of this process, which are asked on sockets. The top
// level domain is reserved (RFC 2606) never to exist.
const localSuffix = ".in-process.invalid"

// LocalAddress is the address under which the scrape manager asks for a job of
// this process.
func LocalAddress(job string) string { return job + localSuffix + ":80" }

// LocalJobName is the reverse of LocalAddress.
func LocalJobName(address string) (job string, ok bool) {
	return strings.CutSuffix(address, localSuffix+":80")
}

// localPart is the part of a scrape configuration that scrapes a local job.
func localPart(job LocalJob) contract.Part {
	machine := machineName()
	var options map[string]any
	if job.Name == SelfJob {
		options = map[string]any{"honor_labels": true} // it tells of other machines
	}
	return contract.Part{Job: job.Name, Options: options, SD: map[string][]any{"static_configs": {map[string]any{
		"targets": []string{LocalAddress(job.Name)},
		"labels": map[string]string{
			contract.MetaMethod:  contract.MethodLocal,
			contract.MetaMachine: machine,
			contract.MetaFrom:    "this server",
			"instance":           fmt.Sprintf("%s:%d", machine, job.Port),
			"__scheme__":         "http", // also where the rest of the job has TLS
			"__unix_socket__":    job.Socket,
		},
	}}}}
}

// machineName is the short name of this machine, as the label "machine" has it.
func machineName() string {
	name, err := os.Hostname()
	if err == nil {
		name = contract.Short(name)
	}
	if name == "" {
		return "localhost"
	}
	return name
}
