package shaping

const (
	// flowQueues is how many queues a leaf with a backlog has, one for each flow while they suffice.
	flowQueues = 128
	// flowWays is how many of them one flow may choose from. With four, flows hardly ever share a queue while there are
	// some to spare, where a plain hash would let a dozen flows collide; CAKE does the same with eight (arXiv:1804.07617).
	flowWays = 4
)

// flowQueue is the queue of one flow: 64 bytes, a cache line.
type flowQueue struct {
	head, tail *Packet
	codel      codel
	flow       uint32 // whose queue it is while on a list
	bytes      int32
	deficit    int32
	next       int16    // the queue after it on its list, plus one
	on         flowList // which list it is on
	shared     bool     // another flow found no queue of its own and has packets here
}

// flowList names the lists of RFC 8290 section 4.2.
type flowList uint8

const (
	offList flowList = iota
	newFlows
	oldFlows
)

func (q *flowQueue) push(p *Packet) {
	p.next, p.repeated = nil, q.flow == p.Flow && q.codel.repeats(p)
	if q.tail == nil {
		q.head = p
	} else {
		q.tail.next = p
	}
	q.tail = p
	q.bytes += int32(len(p.Data))
}

func (q *flowQueue) pop() *Packet {
	p := q.head
	if p == nil {
		return nil
	}
	if q.head = p.next; q.head == nil {
		q.tail, q.shared = nil, false
	}
	p.next = nil
	q.bytes -= int32(len(p.Data))
	return p
}

// fifo is a list of flow queues, linked by their numbers plus one.
type fifo struct {
	head, tail int16
}

// flowTable is FQ-CoDel (RFC 8290): what a leaf has while it has a backlog, and not a moment longer.
type flowTable struct {
	lists  [3]fifo // by flowList
	queues [flowQueues]flowQueue
}

// push puts a packet at the end of its flow's queue; quantum is the credit of a flow that begins.
func (t *flowTable) push(p *Packet, quantum int32) {
	i, fresh := t.find(p.Flow)
	q := &t.queues[i]
	if fresh {
		if q.flow != p.Flow {
			q.flow, q.codel = p.Flow, codel{}
		}
		q.deficit = quantum
		t.append(i, newFlows)
	}
	q.push(p)
}

// find returns the queue for a flow and whether it is free for the taking. While a flow has packets in the table it is always
// sent to the same queue, so that they keep their order: to the one that bears its number, or else to the first of its
// set if another flow lent that one.
func (t *flowTable) find(flow uint32) (i int, fresh bool) {
	const sets = flowQueues / flowWays
	first := int(flow*0x9e3779b1>>16) % sets * flowWays
	free := -1
	for i := first; i < first+flowWays; i++ {
		switch q := &t.queues[i]; {
		case q.on == offList:
			if free < 0 {
				free = i
			}
		case q.flow == flow:
			return i, false
		}
	}
	home := &t.queues[first]
	if free >= 0 && !home.shared {
		return free, true
	}
	home.shared = true
	return first, false
}

// pop takes the next packet by the order of RFC 8290 section 4.2: flows that began lately first, then all in turns of a
// quantum, and CoDel within each. It returns nil when nothing is left.
func (t *flowTable) pop(now int64, quantum int32, params codelParams, dropped *tally) *Packet {
	for {
		list := newFlows
		if t.lists[newFlows].head == 0 {
			list = oldFlows
		}
		i := int(t.lists[list].head) - 1
		if i < 0 {
			return nil
		}
		q := &t.queues[i]
		if q.deficit <= 0 {
			q.deficit += quantum
			t.rotate(list, oldFlows)
			continue
		}
		p := q.codel.dequeue(q, now, params, dropped)
		switch {
		case p != nil:
			q.deficit -= int32(len(p.Data))
			return p
		case list == newFlows && t.lists[oldFlows].head != 0:
			t.rotate(list, oldFlows) // or a flow could stay new by sending a packet a round
		default:
			t.rotate(list, offList)
		}
	}
}

// fattest returns the queue with most bytes; RFC 8290 section 4.1.2 drops from that one, so that the flow which filled the
// leaf's queue pays for it.
func (t *flowTable) fattest() *flowQueue {
	most := &t.queues[0]
	for i := range t.queues {
		if q := &t.queues[i]; q.bytes > most.bytes {
			most = q
		}
	}
	return most
}

func (t *flowTable) append(i int, list flowList) {
	l := &t.lists[list]
	link := int16(i + 1)
	if l.tail == 0 {
		l.head = link
	} else {
		t.queues[l.tail-1].next = link
	}
	l.tail = link
	t.queues[i].on, t.queues[i].next = list, 0
}

// rotate moves the first queue of a list to the end of another, or off all lists.
func (t *flowTable) rotate(from, to flowList) {
	l := &t.lists[from]
	i := int(l.head) - 1
	if l.head = t.queues[i].next; l.head == 0 {
		l.tail = 0
	}
	if to == offList {
		t.queues[i].on = offList
		return
	}
	t.append(i, to)
}
