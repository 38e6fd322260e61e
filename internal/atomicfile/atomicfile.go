// Package atomicfile replaces files so that a reader, and a server after a power
// cut, finds either the old content or the new one, never a part or an empty file.
package atomicfile

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// suffix marks temporary files, with a random number after it.
const suffix = ".new-"

// Write replaces file by what write writes. It writes to a temporary file in the
// same directory, syncs it, renames it over file, and syncs the directory. After
// an error the old content is still in place and the temporary file is gone; only
// where syncing the directory failed may the new content be there already. Two
// writers at the same time do not harm each other; the one that renames last wins.
func Write(file string, perm fs.FileMode, write func(io.Writer) error) (err error) {
	dir := filepath.Dir(file)
	f, err := os.CreateTemp(dir, filepath.Base(file)+suffix+"*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err = write(f); err != nil {
		return fmt.Errorf("write %s: %w", f.Name(), err)
	}
	if err = f.Chmod(perm); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), file); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes a rename durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Clean removes temporary files of file that a killed process left behind. No
// Write of the same file may run at the same time, in this process or in another.
func Clean(file string) {
	dir := filepath.Dir(file)
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), filepath.Base(file)+suffix) {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}
