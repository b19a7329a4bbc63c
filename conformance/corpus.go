package conformance

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Corpus is a directory with scenarios/ and golden/.
type Corpus string

// Scenarios reads all scripts whose name matches, or all if match is nil, in
// the order of their names.
func (c Corpus) Scenarios(match *regexp.Regexp) ([]*Scenario, error) {
	root := filepath.Join(string(c), "scenarios")
	var out []*Scenario
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".scn" {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		name := strings.TrimSuffix(filepath.ToSlash(rel), ".scn")
		if match != nil && !match.MatchString(name) {
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		s, err := ParseScenario(name, src)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		out = append(out, s)
		return nil
	})
	slices.SortFunc(out, func(a, b *Scenario) int { return strings.Compare(a.Name, b.Name) })
	return out, err
}

// Golden reads what RabbitMQ answered. A missing transcript gives an error
// that wraps fs.ErrNotExist.
func (c Corpus) Golden(s *Scenario) (Transcript, error) {
	b, err := os.ReadFile(filepath.Join(string(c), "golden", filepath.FromSlash(s.Name)+".txt"))
	if err != nil {
		return nil, err
	}
	return ParseTranscript(b), nil
}

// WriteGolden writes a transcript in the place where Golden reads it.
func (c Corpus) WriteGolden(s *Scenario, t Transcript) error {
	return WriteTranscript(filepath.Join(string(c), "golden"), s, t)
}

// WriteTranscript writes a transcript to dir/AREA/NAME.txt.
func WriteTranscript(dir string, s *Scenario, t Transcript) error {
	path := filepath.Join(dir, filepath.FromSlash(s.Name)+".txt")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(t.String()), 0o644)
}

// Check reads all scripts, and names those that have no transcript made by the
// script as it stands now.
func (c Corpus) Check(match *regexp.Regexp) (all int, stale []string, err error) {
	list, err := c.Scenarios(match)
	if err != nil {
		return 0, nil, err
	}
	for _, s := range list {
		if t, err := c.Golden(s); err != nil || !t.Fits(s) {
			stale = append(stale, s.Name)
		}
	}
	return len(list), stale, nil
}
