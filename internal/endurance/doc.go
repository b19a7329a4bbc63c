// Package endurance fills, drains and reopens brokers on a disk, and sees that
// memory, the directory and what is read stay within their bounds. It has tests only.
//
// As they are run with all others they are short. For the real thing:
//
//	go test ./internal/endurance -v -timeout 2h -messages 10000000 -octets 21474836480
//
// -messages is the length of the queue that is filled and reopened, and a tenth of it
// stands at the head of another; -octets is what goes through queues that stay short.
// It writes where os.MkdirTemp does, and needs twice as much room as messages of
// 1 KiB take. Bounds are asserted; times are printed.
package endurance
