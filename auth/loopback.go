package auth

import (
	"net"
	"net/netip"
)

// isLocal reports whether a peer is on this machine, judged by its own address.
// In-memory connections and Unix sockets cannot come from elsewhere. An address
// that cannot be judged is not local.
func isLocal(peer net.Addr) bool {
	switch a := peer.(type) {
	case nil:
		return false
	case *net.TCPAddr:
		return a != nil && a.IP.IsLoopback()
	case *net.UDPAddr:
		return a != nil && a.IP.IsLoopback()
	case *net.IPAddr:
		return a != nil && a.IP.IsLoopback()
	}
	switch peer.Network() {
	case "pipe", "memory", "unix", "unixpacket":
		return true
	}
	// The address of a connection that somebody wrapped.
	if ap, err := netip.ParseAddrPort(peer.String()); err == nil {
		return ap.Addr().Unmap().IsLoopback()
	}
	return false
}
