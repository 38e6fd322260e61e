// Package upstream runs the suites by which Prometheus, Alertmanager and
// node_exporter test their own programs against clanmon instead.
//
// Their sources are those of the modules that clanmon is made of, from the module
// cache; nothing of them is kept here. known.txt lists the tests that clanmon does
// not pass, each with the reason. A test fails when another differs, and also when
// one of these no longer does.
//
// The suites take minutes, so they have the build tag long: make test-upstream.
package upstream
