package auth_test

import (
	"errors"
	"net"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/auth"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/reply"
)

var (
	here      = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	elsewhere = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}
)

// field is one string of a table, as a client writes it.
func field(name, value string) string {
	n := len(value)
	return string(rune(len(name))) + name + "S" + string([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}) + value
}

func amqplain(user, password string) string {
	return field("LOGIN", user) + field("PASSWORD", password)
}

func TestMechanisms(t *testing.T) {
	t.Parallel()
	require.Equal(t, "AMQPLAIN PLAIN", auth.New(auth.Options{}).Mechanisms())
}

func TestAUserLogsIn(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, mechanism, user, password, response string }{
		{"plain", "PLAIN", "u", "pw", "\x00u\x00pw"},
		{"plain with UTF-8", "PLAIN", "ü", "pä", "\x00ü\x00pä"},
		{"plain with blanks", "PLAIN", " u ", " ", "\x00 u \x00 "},
		{"amqplain", "AMQPLAIN", "u", "pw", amqplain("u", "pw")},
		{"amqplain in another order", "AMQPLAIN", "u", "pw", field("PASSWORD", "pw") + field("LOGIN", "u")},
		{"amqplain with more", "AMQPLAIN", "u", "pw", "\x01xt\x01" + amqplain("u", "pw")},
		{"amqplain takes the first", "AMQPLAIN", "u", "pw", amqplain("u", "pw") + amqplain("u", "other")},
		{"amqplain with a byte array", "AMQPLAIN", "u", "pw", field("LOGIN", "u") + "\x08PASSWORDx\x00\x00\x00\x02pw"},
		{"amqplain with the other", "AMQPLAIN", "u", "pw", "\x05LOGINx\x00\x00\x00\x01u" + field("PASSWORD", "pw")},
		{"amqplain with a NUL", "AMQPLAIN", "u\x00", "\x00", amqplain("u\x00", "\x00")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := auth.New(auth.Options{})
			require.NoError(t, r.AddUser(tt.user, tt.password, "tag"))
			u, err := r.Authenticate(tt.mechanism, []byte(tt.response), elsewhere)
			require.NoError(t, err)
			require.Equal(t, tt.user, u.Name())
			require.True(t, u.HasTag("tag"))
		})
	}
}

func TestUnusableMechanisms(t *testing.T) {
	t.Parallel()
	tests := []struct{ mechanism, text string }{
		{"plain", "unknown authentication mechanism 'plain'"},
		{"", "unknown authentication mechanism ''"},
		{"PLAIN ", "unknown authentication mechanism 'PLAIN '"},
		{"SCRAM-SHA-256", "unknown authentication mechanism 'SCRAM-SHA-256'"},
		{"EXTERNAL", "invalid authentication mechanism 'EXTERNAL'"},
		{"RABBIT-CR-DEMO", "invalid authentication mechanism 'RABBIT-CR-DEMO'"},
	}
	for _, tt := range tests {
		_, err := registry(t).Authenticate(tt.mechanism, []byte("\x00u\x00pw"), here)
		var e *auth.MechanismError
		require.ErrorAs(t, err, &e)
		require.Equal(t, tt.mechanism, e.Mechanism)
		require.EqualError(t, err, tt.text)
		require.ErrorIs(t, err, reply.CommandInvalid)
	}
}

func TestMalformedResponses(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, mechanism, response string }{
		{"empty", "PLAIN", ""},
		{"no NUL", "PLAIN", "guestguest"},
		{"no leading NUL", "PLAIN", "u\x00pw"},
		{"an authorisation identity", "PLAIN", "u\x00u\x00pw"},
		{"no password", "PLAIN", "\x00u"},
		{"something behind the password", "PLAIN", "\x00u\x00pw\x00"},
		{"only a NUL", "PLAIN", "\x00"},
		{"empty", "AMQPLAIN", ""},
		{"not a table", "AMQPLAIN", "\x00u\x00pw"},
		{"cut off", "AMQPLAIN", amqplain("u", "pw")[:15]},
		{"with a length before it", "AMQPLAIN", "\x00\x00\x00\x1d" + amqplain("u", "pw")},
		{"no password", "AMQPLAIN", field("LOGIN", "u")},
		{"no login", "AMQPLAIN", field("PASSWORD", "pw")},
		{"small letters", "AMQPLAIN", field("login", "u") + field("password", "pw")},
		{"a login that is no string", "AMQPLAIN", "\x05LOGINt\x01" + field("PASSWORD", "pw")},
		{"byte arrays", "AMQPLAIN", "\x05LOGINx\x00\x00\x00\x01u" + "\x08PASSWORDx\x00\x00\x00\x02pw"},
	}
	for _, tt := range tests {
		t.Run(tt.mechanism+" "+tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := registry(t).Authenticate(tt.mechanism, []byte(tt.response), here)
			var e *auth.ResponseError
			require.ErrorAs(t, err, &e)
			require.Equal(t, tt.mechanism, e.Mechanism)
			require.Error(t, e.Err)
			require.EqualError(t, err, "response <<..>> invalid", "there may be a password in it")
			require.ErrorIs(t, err, reply.SyntaxError)
		})
	}
}

func TestRefusedLogins(t *testing.T) {
	t.Parallel()
	const blank = " attempted to log in with a blank password, which is never accepted"
	tests := []struct {
		name, user, password string
		peer                 net.Addr
		reason               auth.Reason
		text                 string
	}{
		{"wrong password", "u", "PW", here, auth.BadCredentials, "user 'u' - invalid credentials"},
		{"unknown user", "nobody", "pw", here, auth.BadCredentials, "user 'nobody' - invalid credentials"},
		{"no name", "", "pw", here, auth.BadCredentials, "user '' - invalid credentials"},
		{"blank password", "u", "", here, auth.BlankPassword, "user 'u'" + blank},
		{"blank password of an unknown user", "nobody", "", here, auth.BlankPassword, "user 'nobody'" + blank},
		{"blank password that was set", "blank", "", here, auth.BlankPassword, "user 'blank'" + blank},
		{"no password set", "nopw", "x", here, auth.BadCredentials, "user 'nopw' - invalid credentials"},
		{"guest from elsewhere", "guest", "guest", elsewhere, auth.LoopbackOnly, "user 'guest' can only connect via localhost"},
		{"guest from elsewhere with a wrong password", "guest", "x", elsewhere, auth.BadCredentials, "user 'guest' - invalid credentials"},
	}
	for _, tt := range tests {
		for mechanism, response := range map[string]string{
			"PLAIN":    "\x00" + tt.user + "\x00" + tt.password,
			"AMQPLAIN": amqplain(tt.user, tt.password),
		} {
			t.Run(mechanism+" "+tt.name, func(t *testing.T) {
				t.Parallel()
				r := registry(t)
				require.NoError(t, r.AddDefaultUser())
				require.NoError(t, r.AddUser("blank", ""))
				require.NoError(t, r.AddUserHash("nopw", auth.PasswordHash{}))
				u, err := r.Authenticate(mechanism, []byte(response), tt.peer)
				require.Nil(t, u)
				var e *auth.RefusedError
				require.ErrorAs(t, err, &e)
				require.Equal(t, tt.reason, e.Reason)
				require.Equal(t, tt.user, e.User)
				require.EqualError(t, err, mechanism+" login refused: "+tt.text)
				require.ErrorIs(t, err, reply.AccessRefused)
				require.Equal(t, "ACCESS_REFUSED - Login was refused using authentication mechanism "+mechanism+
					". For details see the broker logfile.", e.Reply().ReplyText())
				require.True(t, e.Reply().NoMethod)
			})
		}
	}
}

func TestImportedHashesLogIn(t *testing.T) {
	t.Parallel()
	r := auth.New(auth.Options{})
	for user, hash := range map[string][2]string{
		"new": {"rabbit_password_hashing_sha512", "ytUIm/Xb3yB16kTpWLMGsdQshDQIRgWveYehTItxpYNIE5CNeIRuSaf9d0+A5sBl6Sdr9wjM9UD7oD17+iNKfcYnX6U="},
		"old": {"", "ytUIm8s3AnKsXQjptplKFytfVxI="},
	} {
		h, err := auth.ParsePasswordHash(auth.Algorithm(hash[0]), hash[1])
		require.NoError(t, err)
		require.NoError(t, r.AddUserHash(user, h))
		_, err = r.Authenticate("PLAIN", []byte("\x00"+user+"\x00simon"), here)
		require.NoError(t, err)
	}
}

func TestANewPasswordCountsAtOnce(t *testing.T) {
	t.Parallel()
	r := registry(t)
	login := func(password string) error {
		_, err := r.Authenticate("PLAIN", []byte("\x00u\x00"+password), here)
		return err
	}
	require.NoError(t, login("pw"))
	require.NoError(t, r.ChangePassword("u", "new"))
	require.ErrorIs(t, login("pw"), reply.AccessRefused)
	require.NoError(t, login("new"))
	require.NoError(t, r.DeleteUser("u"))
	require.ErrorIs(t, login("new"), reply.AccessRefused)
}

// addr is an address of a type this package does not know.
type addr struct{ network, text string }

func (a addr) Network() string { return a.network }
func (a addr) String() string  { return a.text }

func TestLoopbackIsJudgedByThePeer(t *testing.T) {
	t.Parallel()
	pipe, other := net.Pipe()
	defer pipe.Close()
	defer other.Close()
	tcp := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 5672} }
	tests := []struct {
		name  string
		peer  net.Addr
		local bool
	}{
		{"127.0.0.1", tcp("127.0.0.1"), true},
		{"the rest of 127/8", tcp("127.255.0.9"), true},
		{"::1", tcp("::1"), true},
		{"::1 with a zone", &net.TCPAddr{IP: net.IPv6loopback, Zone: "lo"}, true},
		{"IPv4-mapped loopback", tcp("::ffff:127.0.0.1"), true},
		{"IPv4-mapped loopback in 16 octets", &net.TCPAddr{IP: net.IPv4(127, 8, 8, 8).To16()}, true},
		{"IPv4-mapped elsewhere", tcp("::ffff:192.0.2.1"), false},
		{"IPv4-compatible, which is no loopback", &net.TCPAddr{IP: net.IP{12: 127, 15: 1}}, false},
		{"128.0.0.1", tcp("128.0.0.1"), false},
		{"private", tcp("10.0.0.1"), false},
		{"link-local", tcp("fe80::1"), false},
		{"unspecified", tcp("0.0.0.0"), false},
		{"no IP", &net.TCPAddr{}, false},
		{"UDP here", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}, true},
		{"UDP elsewhere", &net.UDPAddr{IP: net.IPv4(8, 8, 8, 8)}, false},
		{"IP here", &net.IPAddr{IP: net.IPv6loopback}, true},
		{"unix socket", &net.UnixAddr{Net: "unix", Name: "/run/warren"}, true},
		{"net.Pipe", pipe.RemoteAddr(), true},
		{"in memory", addr{"memory", "client 1"}, true},
		{"wrapped, here", addr{"proxy", "[::ffff:127.0.0.1]:9"}, true},
		{"wrapped, elsewhere", addr{"proxy", "192.0.2.1:9"}, false},
		{"no address in it", addr{"tcp", "localhost"}, false},
		{"none", nil, false},
		{"nil TCP", (*net.TCPAddr)(nil), false},
		{"nil UDP", (*net.UDPAddr)(nil), false},
		{"nil IP", (*net.IPAddr)(nil), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := auth.New(auth.Options{})
			require.NoError(t, r.AddDefaultUser())
			_, err := r.Authenticate("PLAIN", []byte("\x00guest\x00guest"), tt.peer)
			if tt.local {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, "PLAIN login refused: user 'guest' can only connect via localhost")
			}
		})
	}
}

func TestLoopbackUsersAreAnOption(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		users    []string
		mayGuest bool
		mayU     bool
	}{
		{"guest if nothing is said", nil, false, true},
		{"nobody", []string{}, true, true},
		{"others", []string{"u"}, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := auth.New(auth.Options{LoopbackUsers: tt.users})
			require.NoError(t, r.AddUser("guest", "pw"))
			require.NoError(t, r.AddUser("u", "pw"))
			_, err := r.Authenticate("PLAIN", []byte("\x00guest\x00pw"), elsewhere)
			require.Equal(t, tt.mayGuest, err == nil)
			_, err = r.Authenticate("PLAIN", []byte("\x00u\x00pw"), elsewhere)
			require.Equal(t, tt.mayU, err == nil)
		})
	}
}

func FuzzPlain(f *testing.F) {
	for _, s := range []string{"", "\x00", "\x00u\x00pw", "u\x00u\x00pw", "\x00u\x00pw\x00", "\x00u\x00"} {
		f.Add([]byte(s))
	}
	r := registry(f)
	f.Fuzz(func(t *testing.T, response []byte) {
		checkLogin(t, r, "PLAIN", response, string(response) == "\x00u\x00pw")
	})
}

func FuzzAMQPlain(f *testing.F) {
	for _, s := range []string{"", amqplain("u", "pw"), amqplain("u", ""), field("LOGIN", "u"), "\x05LOGINF\x00\x00\x00\x00"} {
		f.Add([]byte(s))
	}
	r := registry(f)
	f.Fuzz(func(t *testing.T, response []byte) {
		table, err := message.DecodeTable(response)
		login, _ := table.Get("LOGIN")
		password, _ := table.Get("PASSWORD")
		u, pw := []byte("u"), []byte("pw")
		checkLogin(t, r, "AMQPLAIN", response, err == nil &&
			(login == "u" && (password == "pw" || reflect.DeepEqual(password, pw)) ||
				password == "pw" && reflect.DeepEqual(login, u)))
	})
}

// checkLogin lets somebody in only if he may, and gives a known error otherwise.
func checkLogin(t *testing.T, r *auth.Registry, mechanism string, response []byte, may bool) {
	t.Helper()
	u, err := r.Authenticate(mechanism, response, here)
	if may {
		require.NoError(t, err)
		require.Equal(t, "u", u.Name())
		return
	}
	require.Nil(t, u)
	var refused *auth.RefusedError
	var malformed *auth.ResponseError
	switch {
	case errors.As(err, &refused), errors.As(err, &malformed):
	default:
		t.Fatalf("%v", err)
	}
}
