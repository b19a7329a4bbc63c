package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/store/badgerstore"
)

const storeUsage = `Usage: warren store COMMAND [flags] ...

Looks after the data directory of a broker that does not run.

Commands:
  check DIR          verify every record of a data directory and count what is there
  backup DIR FILE    write a backup of a data directory; - is the standard output
  restore FILE DIR   make a new data directory of a backup; - is the standard input

The exit status is 0 if all is well, 1 if not, 2 for a command that makes no sense.
"warren store COMMAND -h" says more.
`

// storeCommand is one of the commands of warren store.
type storeCommand struct {
	name, arguments, help string
	reads                 bool // it opens a directory to read
	run                   func(storeCall) error
}

var storeCommands = []storeCommand{
	{
		name: "check", arguments: "DIR", reads: true, run: checkStore,
		help: "Verifies every record, with all checksums, and prints how much there is of what.\n" +
			"Each problem is a line on the standard error. The directory is not changed.",
	},
	{
		name: "backup", arguments: "DIR FILE", reads: true, run: backUpStore,
		help: "Writes everything durable to FILE, which must not exist, or to the standard\n" +
			"output if it is -. The backup holds hashes of passwords and every message. The\n" +
			"directory is not changed.",
	},
	{
		name: "restore", arguments: "FILE DIR", run: restoreStore,
		help: "Makes DIR, which must be empty or not exist, a data directory with what is in\n" +
			"the backup FILE, or on the standard input if it is -. If that fails DIR is empty.",
	},
}

// storeCall is one call of a command.
type storeCall struct {
	arguments      []string
	temp           string
	stdin          io.Reader
	stdout, stderr io.Writer
}

// runStore is warren store.
func runStore(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	misused := func(format string, a ...any) int {
		fmt.Fprintf(stderr, "warren store: %s (see warren store -h)\n", fmt.Sprintf(format, a...))
		return exitUsage
	}
	if len(args) == 0 {
		return misused("a command is missing: check, backup or restore")
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		fmt.Fprint(stderr, storeUsage)
		return exitOK
	}
	for _, c := range storeCommands {
		if c.name == args[0] {
			return c.call(args[1:], stdin, stdout, stderr)
		}
	}
	return misused("%q is none of check, backup and restore", args[0])
}

// call reads the command's flags and arguments and runs it.
func (c storeCommand) call(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	call := storeCall{stdin: stdin, stdout: stdout, stderr: stderr}
	fs := flag.NewFlagSet("warren store "+c.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	if c.reads {
		fs.StringVar(&call.temp, "temp", os.TempDir(), "put the copy of a directory that a crash left into `DIR`; it needs as much room and 140 MiB")
	}
	err := fs.Parse(args)
	switch call.arguments = fs.Args(); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(stderr, "Usage: warren store %s [flags] %s\n\n%s\n", c.name, c.arguments, c.help)
		if c.reads {
			fmt.Fprint(stderr, "\nA directory that was not closed in an orderly way cannot be read without finishing\n"+
				"what the crash left. So a temporary copy of it is read, as a line on the standard\nerror says.\n\nFlags:\n")
			fs.SetOutput(stderr)
			fs.PrintDefaults()
		}
		return exitOK
	case err == nil && len(call.arguments) != numberOfWords(c.arguments):
		err = fmt.Errorf("it takes %s", c.arguments)
	}
	if err != nil {
		fmt.Fprintf(stderr, "warren store %s: %v (see warren store %s -h)\n", c.name, err, c.name)
		return exitUsage
	}
	if err := c.run(call); err != nil {
		fmt.Fprintf(stderr, "warren store %s: %v\n", c.name, err)
		return exitFail
	}
	return exitOK
}

// openData opens a data directory to read it: itself, or a copy if a crash has left
// it so that opening it would change it. done closes it and removes the copy.
func (c storeCall) openData(dir string) (s *badgerstore.Store, done func() error, err error) {
	s, err = badgerstore.Open(dir, badgerstore.Options{ReadOnly: true})
	if err == nil {
		return s, s.Close, nil
	}
	if !errors.Is(err, badgerstore.ErrNeedsWriting) {
		return nil, nil, err
	}
	temp, err := os.MkdirTemp(c.temp, "warren-store-")
	if err != nil {
		return nil, nil, err
	}
	fmt.Fprintf(c.stderr, "%s was not closed in an orderly way; it stays as it is, and a copy in %s is read\n", dir, temp)
	if err := badgerstore.Copy(dir, temp); err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(temp))
	}
	// Nothing of a copy has to survive a crash of the machine.
	s, err = badgerstore.Open(temp, badgerstore.Options{Unsafe: true})
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(temp))
	}
	if torn := s.Recovery(); torn.TornFiles > 0 {
		fmt.Fprintf(c.stderr, "%d octets at the ends of %d logs belong to nothing that was confirmed\n", torn.TornBytes, torn.TornFiles)
	}
	return s, func() error { return errors.Join(s.Close(), os.RemoveAll(temp)) }, nil
}

// checkStore is warren store check.
func checkStore(c storeCall) (err error) {
	s, done, err := c.openData(c.arguments[0])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	problem := func(err error) { fmt.Fprintf(c.stderr, "%v\n", err) }
	records, verifyErr := s.Verify()
	if verifyErr != nil {
		problem(verifyErr)
	}
	r, checkErr := warren.CheckStore(s, problem)
	for _, line := range []struct {
		name string
		n    int64
	}{
		{"virtual hosts", int64(r.VHosts)}, {"users", int64(r.Users)},
		{"permissions", int64(r.Permissions)}, {"topic permissions", int64(r.TopicPermissions)},
		{"exchanges", int64(r.Exchanges)}, {"queues", int64(r.Queues)}, {"bindings", int64(r.Bindings)},
		{"policies", int64(r.Policies)},
		{"messages", r.Messages}, {"octets of messages", r.Octets},
		{"packs of messages", int64(r.Packs)}, {"orphans of a crash", int64(r.Orphans)},
		{"records", records.Records}, {"octets of records", records.Octets},
		{"damaged", records.Damaged + int64(r.Damaged)},
	} {
		fmt.Fprintf(c.stdout, "%-20s %d\n", line.name, line.n)
	}
	switch {
	case checkErr != nil:
		return checkErr
	case verifyErr != nil || r.Damaged > 0:
		return errors.New("the store is damaged; restore a backup")
	}
	return nil
}
