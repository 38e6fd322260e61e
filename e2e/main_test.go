package e2e

import (
	"flag"
	"os"
	"testing"

	"github.com/clanmon/clanmon/e2e/harness"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == parallel.DefValue {
		_ = parallel.Value.Set("6") // these tests wait more than they compute
	}
	code := m.Run()
	harness.RemoveBuilt()
	os.Exit(code)
}
