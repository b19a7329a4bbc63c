package queue

import (
	"fmt"
	"slices"
	"time"
)

// modelLetters are the dead letters that a quorum queue keeps until all of the queues
// they go to have them (contract 05 §9.1, at-least-once).
type modelLetters struct {
	// kept is all of them in the order in which they died. No more than a few are under
	// way, the first ones.
	kept []*modelLetter
	// to are the queues to which a letter goes that is sent now.
	to []string
	// answers are the letters of which all is known that there is to know, and slow
	// those that the slow target has not answered.
	answers, slow []*modelLetter
	// sent is what was sent since somebody looked, got what queues got then.
	sent []string
	got  map[string][]string
}

type modelLetter struct {
	modelMessage
	why   Reason
	taken []string // the queues that have it
	// underWay says that it was sent, open that it is not known yet what became of that,
	// and again when it is sent anew, if something did not take it.
	underWay, open bool
	again          time.Time
	// takes and refusals are the answers so far.
	takes    []string
	refusals int
}

// The queues to which letters may go.
const (
	targetReady = "ready" // takes them
	targetSlow  = "slow"  // takes them a good while later
	targetFull  = "full"  // refuses them
	targetGone  = "gone"  // was deleted
)

// bury takes what died: it is kept, goes to the dead-letter exchange, or nowhere.
func (m *quorumModel) bury(x modelMessage, why Reason) {
	if !m.rules.sure {
		m.die(x, why)
		return
	}
	m.letters.kept = append(m.letters.kept, &modelLetter{modelMessage: x, why: why})
}

// forward sends letters, and takes the answers of the queues that give them at once.
func (m *quorumModel) forward() {
	l := &m.letters
	for {
		m.send()
		m.notice()
		if len(l.answers) == 0 {
			return
		}
		x := l.answers[0]
		l.answers = l.answers[1:]
		m.answered(x)
		m.notice()
	}
}

// send sends as many as may be under way, and those again whose time has come.
func (m *quorumModel) send() {
	l := &m.letters
	var old []*modelLetter
	for _, x := range l.kept {
		if x.underWay {
			old = append(old, x)
		}
	}
	n := len(old)
	for _, x := range l.kept {
		if !x.underWay && n < maxLetters {
			n++
			m.sendOne(x)
		}
	}
	for _, x := range old {
		if !x.open && !time.Now().Before(x.again) {
			m.sendOne(x)
		}
	}
}

func (m *quorumModel) sendOne(x *modelLetter) {
	l := &m.letters
	x.underWay, x.open = true, true
	x.takes, x.refusals = nil, 0
	l.sent = append(l.sent, fmt.Sprint(x.body, " ", x.why, " ", m.rules.dlx, " ", m.rules.rekey))
	waits := false
	for _, to := range l.to {
		if slices.Contains(x.taken, to) {
			continue
		}
		switch to {
		case targetFull, targetGone:
			x.refusals++
			continue
		case targetSlow:
			waits = true
		}
		x.takes = append(x.takes, to)
		l.got[to] = append(l.got[to], x.body)
	}
	if waits {
		l.slow = append(l.slow, x)
	} else {
		l.answers = append(l.answers, x)
	}
}

// answered is that all queues have said whether they took a letter.
func (m *quorumModel) answered(x *modelLetter) {
	x.open = false
	x.taken = append(x.taken, x.takes...)
	if x.refusals > 0 || len(x.taken) == 0 {
		x.again = time.Now().Add(retryLetter)
		return
	}
	m.letters.kept = slices.DeleteFunc(m.letters.kept, func(y *modelLetter) bool { return x == y })
}

// slowAnswers is that the slow target has what it was sent.
func (m *quorumModel) slowAnswers() {
	l := &m.letters
	for len(l.slow) > 0 {
		x := l.slow[0]
		l.slow = l.slow[1:]
		if slices.Contains(l.kept, x) {
			l.answers = append(l.answers, x)
		}
		m.forward()
	}
}

// obeyLetters is another policy for the letters that were kept: they are sent again at
// once or, if that is no longer asked for, those that are not under way go the way of
// others. RabbitMQ drops them all then.
func (m *quorumModel) obeyLetters(letters []*modelLetter) {
	for _, x := range letters {
		switch {
		case m.rules.sure:
			x.again = time.Time{}
		case !x.open:
			m.die(x.modelMessage, x.why)
		}
	}
}

// restartLetters gives the letters of the next run: they are sent anew, in the order of
// the store.
func (m *quorumModel) restartLetters() modelLetters {
	next := modelLetters{to: m.letters.to, got: map[string][]string{}}
	for _, x := range m.letters.kept {
		if m.durable {
			next.kept = append(next.kept, &modelLetter{modelMessage: x.modelMessage, why: x.why})
		}
	}
	slices.SortFunc(next.kept, func(a, b *modelLetter) int { return a.position - b.position })
	return next
}

// retry gives when the next letter is sent again, zero for never.
func (m *quorumModel) retry() (next time.Time) {
	for _, x := range m.letters.kept {
		if x.underWay && !x.open && (next.IsZero() || x.again.Before(next)) {
			next = x.again
		}
	}
	return next
}
