package audit

import "time"

// Disk is what the writer does with a segment.
type Disk = disk

// WrapDisk has what the log does with its segment from now on go through wrap.
func (l *Log) WrapDisk(wrap func(Disk) Disk) {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.w.wrap = wrap
	l.w.file = wrap(l.w.file)
}

// Rotate begins another segment.
func (l *Log) Rotate() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.w.rotate(time.Now())
	l.head = l.w.head
	return err
}

// Kill leaves the files as they are, as a kill does.
func (l *Log) Kill() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	close(l.stop)
	l.keeping.Wait()
	if err := l.w.close(); err != nil {
		return err
	}
	return l.lock.Close()
}

// Bounds of what refusals write.
const (
	RefusalWindow = refusalWindow
	RefusalsEach  = refusalsEach
)

// AppendAt appends an event as if it were that time.
func (l *Log) AppendAt(now time.Time) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	_, err := l.w.append(now, []*Record{{Kind: KindEvent}})
	return err
}
