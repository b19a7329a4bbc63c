package exchange

import (
	"strings"

	"github.com/warrenmq/warren/internal/pmap"
)

// topicType routes to the bindings whose key, as a pattern of words, matches
// one of the message's keys (contract 04 §6.3).
type topicType struct{ keyed }

func (topicType) Name() string        { return "topic" }
func (topicType) Description() string { return "routes to bindings whose pattern matches the key" }
func (topicType) New(Spec) Router     { return topicRouter{} }

type topicRouter struct {
	root *topicNode
}

func (r topicRouter) Bind(b Binding) Router {
	return topicRouter{r.root.changed(b.Key, b.Key != "", b.Destination, true)}
}

func (r topicRouter) Unbind(b Binding) Router {
	return topicRouter{r.root.changed(b.Key, b.Key != "", b.Destination, false)}
}

func (r topicRouter) Route(m *Subject, to []*Destination) []*Destination {
	if r.root == nil {
		return to
	}
	for _, key := range m.keys {
		to = m.topic.match(r.root, key, to)
	}
	return to
}

// nextWord cuts the first word off a key that has one. more tells whether
// another word follows, which may be empty: "a." is two words.
func nextWord(key string) (word, rest string, more bool) { return strings.Cut(key, ".") }

// topicNode is a node of a trie over the words of the patterns. A node is never
// changed once it is reachable from a router, and none is without any use.
type topicNode struct {
	words pmap.Map[string, *topicNode] // by the next word
	star  *topicNode                   // the next word is *
	hash  *topicNode                   // the next word is #
	here  bag                          // the patterns that end here
}

// changed gives n with the pattern added or removed; nil if that leaves
// nothing. more tells that the pattern has words left.
func (n *topicNode) changed(pattern string, more bool, d *Destination, add bool) *topicNode {
	var c topicNode
	if n != nil {
		c = *n
	}
	if !more {
		if add {
			c.here = c.here.add(d)
		} else {
			c.here = c.here.remove(d)
		}
	} else {
		word, rest, more := nextWord(pattern)
		switch word {
		case "*":
			c.star = c.star.changed(rest, more, d, add)
		case "#":
			c.hash = c.hash.changed(rest, more, d, add)
		default:
			sub, _ := c.words.Get(word)
			if sub = sub.changed(rest, more, d, add); sub != nil {
				c.words = c.words.Set(word, sub)
			} else {
				c.words = c.words.Delete(word)
			}
		}
	}
	if c.star == nil && c.hash == nil && c.words.Len() == 0 && c.here.empty() {
		return nil
	}
	return &c
}

// topicScratch matches a key against all patterns at once, word by word. It
// holds the nodes that the words so far lead to.
//
// The trie is a tree, so a node is reached in one way only, save that a #
// stays reached whatever words follow. Hence the two sets: places are left
// with every word; hashes, once reached, never. No node is looked at twice for
// one word, and no pattern, however many # it has, can blow up the work.
type topicScratch struct {
	places, next []*topicNode
	hashes       pointerSet[topicNode]
}

func (t *topicScratch) match(root *topicNode, key string, to []*Destination) []*Destination {
	t.reach(root)
	t.turn()
	for word, rest, more := "", key, key != ""; more; {
		word, rest, more = nextWord(rest)
		// A # reached by this word is no start for it.
		before := t.hashes.items
		for _, n := range t.places {
			t.step(n, word)
		}
		for _, n := range before {
			t.step(n, word)
		}
		t.turn()
	}
	for _, n := range t.places {
		to = n.here.appendTo(to)
	}
	for _, n := range t.hashes.items {
		to = n.here.appendTo(to)
	}
	t.reset()
	return to
}

// step goes on from n by word.
func (t *topicScratch) step(n *topicNode, word string) {
	if sub, ok := n.words.Get(word); ok {
		t.reach(sub)
	}
	if n.star != nil {
		t.reach(n.star)
	}
}

// reach adds n, and each # that may stand for no word after it.
func (t *topicScratch) reach(n *topicNode) {
	t.next = append(t.next, n)
	for h := n.hash; h != nil && t.hashes.add(h); {
		h = h.hash
	}
}

// turn makes the nodes reached by a word the places to go on from.
func (t *topicScratch) turn() {
	clear(t.places)
	t.places, t.next = t.next, t.places[:0]
}

// reset lets go of all nodes, so that an idle Subject keeps no old router.
func (t *topicScratch) reset() {
	clear(t.places)
	t.places = t.places[:0]
	t.hashes.reset()
}
