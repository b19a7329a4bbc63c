// Package message holds what every part of the broker passes around: the
// message itself, its properties, field tables and the names by which queues,
// channels and consumers refer to each other.
//
// It imports nothing of Warren and may be imported by every package.
package message
