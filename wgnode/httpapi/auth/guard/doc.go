// Package guard is what stands around authentication: limits on connections ([Listen]), on what a request may cost
// ([NewServer]) and on how many there are ([RateLimit]), the id of a request ([RequestID]) and the headers of an answer
// ([Headers]). Each is of use alone.
//
// Nothing here starts a goroutine or needs a privilege.
package guard
