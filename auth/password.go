package auth

import (
	"crypto/md5" // Only for hashes that were made elsewhere.
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Algorithm is the name of a way to hash passwords, as in RabbitMQ's
// definitions.
type Algorithm string

// The algorithms of RabbitMQ (contract 08 §2.1). New hashes are SHA256; the
// others are for users that come from elsewhere.
const (
	SHA256 Algorithm = "rabbit_password_hashing_sha256"
	SHA512 Algorithm = "rabbit_password_hashing_sha512"
	MD5    Algorithm = "rabbit_password_hashing_md5"
)

// ErrBadHash is returned by ParsePasswordHash for an unknown algorithm, for text
// that is not base64, and for a length that the algorithm does not give.
var ErrBadHash = errors.New("bad password hash")

const saltSize = 4

// PasswordHash is a salted password: four octets of salt and the digest of salt
// and password. No password matches the zero PasswordHash: a user who has it
// cannot log in with one. A PasswordHash is immutable.
type PasswordHash struct {
	algorithm Algorithm
	salted    []byte
}

// HashPassword hashes a password with SHA-256 and a new salt.
func HashPassword(password string) PasswordHash {
	salt := make([]byte, saltSize)
	for binary.BigEndian.Uint32(salt) == 0 { // RabbitMQ's salts are numbers from 1.
		_, _ = rand.Read(salt) // It is documented never to fail.
	}
	return PasswordHash{algorithm: SHA256, salted: append(salt, SHA256.digest(salt, password)...)}
}

// ParsePasswordHash reads a hash from RabbitMQ's definitions: the fields
// hashing_algorithm and password_hash. No algorithm means MD5, as it does in
// definitions from the time before there was that field. An empty hash is the
// zero PasswordHash. Errors wrap ErrBadHash.
func ParsePasswordHash(algorithm Algorithm, encoded string) (PasswordHash, error) {
	if encoded == "" {
		return PasswordHash{}, nil
	}
	if algorithm == "" {
		algorithm = MD5
	}
	if algorithm.size() == 0 {
		return PasswordHash{}, fmt.Errorf("%w: unknown algorithm '%s'", ErrBadHash, algorithm)
	}
	salted, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return PasswordHash{}, fmt.Errorf("%w: %w", ErrBadHash, err)
	}
	if want := saltSize + algorithm.size(); len(salted) != want {
		return PasswordHash{}, fmt.Errorf("%w: %d octets, but salt and digest of %s take %d", ErrBadHash, len(salted), algorithm, want)
	}
	return PasswordHash{algorithm: algorithm, salted: salted}, nil
}

// Algorithm names the algorithm; SHA256 for the zero PasswordHash.
func (h PasswordHash) Algorithm() Algorithm {
	if h.algorithm == "" {
		return SHA256
	}
	return h.algorithm
}

// Base64 is the hash as it is written in definitions, empty for the zero
// PasswordHash.
func (h PasswordHash) Base64() string { return base64.StdEncoding.EncodeToString(h.salted) }

// Matches reports whether it is the hash of that password. Equal and different
// digests take the same time.
func (h PasswordHash) Matches(password string) bool {
	if len(h.salted) < saltSize {
		return false
	}
	salt, digest := h.salted[:saltSize], h.salted[saltSize:]
	return subtle.ConstantTimeCompare(digest, h.algorithm.digest(salt, password)) == 1
}

// String says nothing of the hash, so that it does not end in a log.
func (h PasswordHash) String() string { return "(password hash)" }

// GoString is String.
func (h PasswordHash) GoString() string { return h.String() }

// size is the length of a digest, 0 for an unknown algorithm.
func (a Algorithm) size() int {
	switch a {
	case SHA256:
		return sha256.Size
	case SHA512:
		return sha512.Size
	case MD5:
		return md5.Size
	}
	return 0
}

func (a Algorithm) digest(salt []byte, password string) []byte {
	salted := append(slices.Clip(salt), password...)
	switch a {
	case SHA512:
		sum := sha512.Sum512(salted)
		return sum[:]
	case MD5:
		sum := md5.Sum(salted)
		return sum[:]
	}
	sum := sha256.Sum256(salted)
	return sum[:]
}
