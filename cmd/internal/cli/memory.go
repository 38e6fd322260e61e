package cli

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// ReturnMemory gives back to the kernel what only the start needed.
func ReturnMemory(log *slog.Logger) {
	debug.FreeOSMemory()
	if err := unmapProgram(); err != nil {
		log.Debug("Pages of the program's file stay mapped", "err", err)
	}
}

// unmapProgram takes the code and the constants of the program out of this process. The
// initialisation of packages touches most of them, and few are used later. They stay in
// the kernel's page cache, where the next use finds them.
func unmapProgram() error {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	// What is loaded at any address has constants that the loader has written.
	if fixed, err := fixedAddresses("/proc/self/exe"); err != nil || !fixed {
		return err
	}
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return err
	}
	defer f.Close()
	parts, err := readOnlyParts(f, program)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, p.from, p.to-p.from, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("madvise: %w", errno)
		}
	}
	return nil
}

// fixedAddresses reports whether a file is an ELF program that is loaded where it says.
func fixedAddresses(file string) (bool, error) {
	f, err := os.Open(file)
	if err != nil {
		return false, err
	}
	defer f.Close()
	var header [18]byte // the type is at 16
	_, err = io.ReadFull(f, header[:])
	const exec = 2 // ET_EXEC
	return err == nil && binary.NativeEndian.Uint16(header[16:]) == exec, err
}

// part is a range of addresses.
type part struct{ from, to uintptr }

// readOnlyParts are those into which maps, a file of /proc/PID/maps, says that a file is
// mapped and that cannot be written to: what was written would be lost with the pages.
func readOnlyParts(maps io.Reader, file string) (parts []part, err error) {
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		at, rest, _ := strings.Cut(lines.Text(), " ")
		mode, rest, _ := strings.Cut(rest, " ")
		if strings.Contains(mode, "w") || !strings.HasSuffix(rest, " "+file) {
			continue
		}
		var p part
		if _, err := fmt.Sscanf(at, "%x-%x", &p.from, &p.to); err != nil {
			return nil, fmt.Errorf("%q: %w", lines.Text(), err)
		}
		parts = append(parts, p)
	}
	return parts, lines.Err()
}
