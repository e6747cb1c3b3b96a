// Package v1 has the requests and the answers of version 1 of the API, as package httpapi serves them below /api/v1 and as a
// client sends and reads them. It links no node.
//
// # Units
//
// A rate is a whole number of bit/s, or in a request a text with a unit: 20000000, "20mbit". An amount of data is a whole
// number of bytes, or in a request a text with a unit: 5368709120, "5GiB". Answers have numbers, which may be above 2^53. A
// duration is a text as package time has it: "72h", "1h30m". A time is a text as RFC 3339 has it: "2026-11-21T18:00:00Z". A
// key is a text in base64: the standard alphabet in answers (RFC 4648, section 4), and that or the one for URLs (section 5)
// in requests.
//
// A field that is left out of an answer has its zero value, which means none: no limit, no cap, no expiry.
package v1
