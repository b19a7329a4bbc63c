package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// line is one line of text and the routing key it is published with.
type line struct {
	key  string
	body []byte
}

// text is what is to be sent.
type text struct {
	lines []line
	files int
}

// goroot asks the go command where its toolchain is.
func goroot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// areas are the directories with documentation, the most varied first: there are
// more lines in them than are sent.
var areas = [...]string{"doc", "src", "misc", "api"}

// errEnough ends a walk.
var errEnough = errors.New("enough lines")

// readText gives the lines of the documentation under root, up to maxLines.
func readText(root string, maxLines int) (t text, err error) {
	for _, area := range areas {
		err := filepath.WalkDir(filepath.Join(root, area), func(path string, d fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return nil // not every distribution of Go has all of them
			case err != nil:
				return err
			case d.IsDir() && d.Name() == "testdata":
				return fs.SkipDir
			case !d.Type().IsRegular():
				return nil
			}
			kind, ok := kindOf(d.Name())
			if !ok {
				return nil
			}
			return t.add(path, area+"."+kind, maxLines)
		})
		if err != nil && !errors.Is(err, errEnough) {
			return t, err
		}
	}
	if len(t.lines) == 0 {
		return t, fmt.Errorf("no documentation under %q", root)
	}
	return t, nil
}

// kindOf tells what kind of documentation a file is, if it is any.
func kindOf(name string) (kind string, ok bool) {
	ext := strings.TrimPrefix(filepath.Ext(name), ".")
	switch {
	case ext == "md", ext == "html", ext == "txt":
		return ext, true
	case strings.HasPrefix(name, "README") && ext == "":
		return "plain", true
	}
	return "", false
}

// add adds the lines of a file, each without its end.
func (t *text) add(path, key string, maxLines int) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	t.files++
	for l := range bytes.Lines(content) {
		if len(t.lines) == maxLines {
			return errEnough
		}
		t.lines = append(t.lines, line{key, bytes.TrimSuffix(l, []byte("\n"))})
	}
	return nil
}
