package discovery

// forgets let go of what package initialisation of service discoveries made.
var forgets []func()

// Forget lets go of the largest tables that service discoveries fill before main
// begins: the exporter's role has no use for them, and would carry them on every
// machine. No service discovery works in this process afterwards.
func Forget() {
	for _, f := range forgets {
		f()
	}
}
