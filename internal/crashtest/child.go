package crashtest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/auth"
)

// childVariable is the environment variable that makes a program a broker: its
// value is the data directory.
const childVariable = "WARREN_CRASHTEST_DIR"

// Self gives the command of a broker that is this program again, which must call
// Main first of all.
func Self(dir string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+dir)
	return cmd
}

// Main runs a broker and ends the program, if it was started by Self, and else
// returns at once.
func Main() {
	dir, ok := os.LookupEnv(childVariable)
	if !ok {
		return
	}
	if err := serve(dir, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serve runs a broker until it is told to quit, or there is nobody any more who
// could tell it.
func serve(dir string, stdin io.Reader, stdout io.Writer) error {
	b, err := openBroker(dir, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- b.Serve(listener) }()
	fmt.Fprintf(stdout, "listening on %s\n", listener.Addr())
	in := bufio.NewScanner(stdin)
	for in.Scan() {
		if in.Text() == "quit" {
			ctx, cancel := context.WithTimeout(context.Background(), startWait)
			defer cancel()
			if err := b.Shutdown(ctx); err != nil {
				return err
			}
			if err := <-served; !errors.Is(err, warren.ErrClosed) {
				return err
			}
			return nil
		}
		answer, err := administrate(b, strings.Fields(in.Text()))
		if err != nil {
			answer = "error " + err.Error()
		} else {
			answer = "ok " + answer
		}
		fmt.Fprintln(stdout, answer)
	}
	return errors.New("there is nobody any more")
}

// administrate carries one command of an administrator out.
func administrate(b *warren.Broker, f []string) (string, error) {
	users := b.Auth()
	switch cmd := f[0]; {
	case cmd == "state":
		answer, err := json.Marshal(accountsOf(b))
		return string(answer), err
	case cmd == "add-vhost" && len(f) == 2:
		return "", b.AddVHost(f[1])
	case cmd == "delete-vhost" && len(f) == 2:
		return "", b.DeleteVHost(f[1])
	case cmd == "set-user" && len(f) == 3:
		if _, ok := users.User(f[1]); ok {
			return "", users.ChangePassword(f[1], f[2])
		}
		return "", users.AddUser(f[1], f[2])
	case cmd == "delete-user" && len(f) == 2:
		return "", users.DeleteUser(f[1])
	case cmd == "set-permission" && len(f) == 4:
		return "", users.SetPermissions(warren.Permission{User: f[1], VHost: f[2], Configure: f[3], Write: f[3], Read: f[3]})
	case cmd == "clear-permission" && len(f) == 3:
		_, err := users.ClearPermissions(f[1], f[2])
		return "", err
	}
	return "", fmt.Errorf("what is %q?", f)
}

// accountsOf gives what the administrator made.
func accountsOf(b *warren.Broker) accounts {
	out := accounts{}
	for _, v := range b.VHosts() {
		if v != auth.DefaultVHost {
			out = append(out, "vhost "+v)
		}
	}
	for _, u := range b.Auth().Users() {
		if u.Name() == auth.DefaultUser {
			continue
		}
		password := "?"
		for i := range manyPasswords {
			if p := fmt.Sprintf("p%d", i); u.PasswordHash().Matches(p) {
				password = p
			}
		}
		out = append(out, "user "+u.Name()+" "+password)
	}
	for _, p := range b.Auth().ListPermissions() {
		if p.User != auth.DefaultUser {
			out = append(out, fmt.Sprintf("permission %s %s %s", p.User, p.VHost, p.Configure))
		}
	}
	slices.Sort(out)
	return out
}
