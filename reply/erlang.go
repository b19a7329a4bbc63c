package reply

import "strings"

// erlangLine is the column at which Erlang's ~p begins a new line.
const erlangLine = 79

// ErlangPair appends a pair of an atom and a value to a text as Erlang's ~p
// prints it: {tag,value} if that fits into a line of 80 columns, else the value
// stands on a line of its own, below the tag. RabbitMQ's reply texts have such
// lines (explanations of frames and of expirations).
func ErlangPair(text, tag, value string) string {
	if len(text)+len(tag)+len(value)+len("{,}") < erlangLine {
		return text + "{" + tag + "," + value + "}"
	}
	return text + "{" + tag + ",\n" + strings.Repeat(" ", len(text)+1) + value + "}"
}
