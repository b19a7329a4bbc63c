package auth_test

import (
	"encoding/base64"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/auth"
)

// The vectors were made with sha256sum and Python's hashlib from contract 08
// §2.1: base64(salt ‖ digest(salt ‖ password)).
func TestHashesOfRabbitMQ(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		algorithm auth.Algorithm
		encoded   string
		password  string
	}{
		{"sha256", auth.SHA256, "ytUIm1ruBv8dbuXf8jo3yKhGfE9Xu5vXpi7ti/E17ovdt2wK", "simon"},
		{"sha256 of UTF-8", auth.SHA256, "AAAAAUi40sY9Ufy3AxqbImTnpgc7WX2IYTI4sjWOGpxlIMTW", "pässwörd✓"},
		{"sha512", auth.SHA512, "ytUIm/Xb3yB16kTpWLMGsdQshDQIRgWveYehTItxpYNIE5CNeIRuSaf9d0+A5sBl6Sdr9wjM9UD7oD17+iNKfcYnX6U=", "simon"},
		{"md5", auth.MD5, "ytUIm8s3AnKsXQjptplKFytfVxI=", "simon"},
		{"md5 when nothing is said", "", "ytUIm8s3AnKsXQjptplKFytfVxI=", "simon"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h, err := auth.ParsePasswordHash(tt.algorithm, tt.encoded)
			require.NoError(t, err)
			require.True(t, h.Matches(tt.password))
			require.False(t, h.Matches(tt.password+"x"))
			require.False(t, h.Matches(""))
			require.Equal(t, tt.encoded, h.Base64())
			if tt.algorithm != "" {
				require.Equal(t, tt.algorithm, h.Algorithm())
			} else {
				require.Equal(t, auth.MD5, h.Algorithm())
			}
		})
	}
}

func TestANewHash(t *testing.T) {
	t.Parallel()
	h := auth.HashPassword("pw")
	require.Equal(t, auth.SHA256, h.Algorithm())
	require.True(t, h.Matches("pw"))
	require.False(t, h.Matches("pW"))
	octets, err := base64.StdEncoding.DecodeString(h.Base64())
	require.NoError(t, err)
	require.Len(t, octets, 36)
	require.NotEqual(t, make([]byte, 4), octets[:4])
	require.NotEqual(t, h.Base64(), auth.HashPassword("pw").Base64(), "each has a salt of its own")
	again, err := auth.ParsePasswordHash(h.Algorithm(), h.Base64())
	require.NoError(t, err)
	require.True(t, again.Matches("pw"))
}

func TestNothingMatchesAnEmptyHash(t *testing.T) {
	t.Parallel()
	h, err := auth.ParsePasswordHash(auth.SHA256, "")
	require.NoError(t, err)
	for _, h := range []auth.PasswordHash{h, {}} {
		require.False(t, h.Matches(""))
		require.False(t, h.Matches("x"))
		require.Empty(t, h.Base64())
		require.Equal(t, auth.SHA256, h.Algorithm())
	}
}

func TestBadHashesAreRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		algorithm auth.Algorithm
		encoded   string
		text      string
	}{
		{"unknown algorithm", "rot13", "AAAA", "bad password hash: unknown algorithm 'rot13'"},
		{"not base64", auth.SHA256, "!", "bad password hash: illegal base64 data at input byte 0"},
		{"digest of another algorithm", auth.SHA256, "ytUIm8s3AnKsXQjptplKFytfVxI=",
			"bad password hash: 20 octets, but salt and digest of rabbit_password_hashing_sha256 take 36"},
		{"salt only", auth.MD5, "ytUImw==", "bad password hash: 4 octets, but salt and digest of rabbit_password_hashing_md5 take 20"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := auth.ParsePasswordHash(tt.algorithm, tt.encoded)
			require.ErrorIs(t, err, auth.ErrBadHash)
			require.EqualError(t, err, tt.text)
		})
	}
}

func TestAHashDoesNotPrintItself(t *testing.T) {
	t.Parallel()
	h := auth.HashPassword("pw")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		require.Equal(t, "(password hash)", fmt.Sprintf(verb, h))
	}
}

func FuzzParsePasswordHash(f *testing.F) {
	f.Add("rabbit_password_hashing_md5", "ytUIm8s3AnKsXQjptplKFytfVxI=", "simon")
	f.Add("", "!", "")
	f.Fuzz(func(t *testing.T, algorithm, encoded, password string) {
		h, err := auth.ParsePasswordHash(auth.Algorithm(algorithm), encoded)
		if err != nil {
			require.ErrorIs(t, err, auth.ErrBadHash)
			return
		}
		h.Matches(password)
		again, err := auth.ParsePasswordHash(h.Algorithm(), h.Base64())
		require.NoError(t, err)
		require.Equal(t, h, again)
	})
}
