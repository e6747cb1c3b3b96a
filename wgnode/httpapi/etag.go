package httpapi

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/waylume/waylume/wgnode/httpapi/internal/param"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
)

// tag is the strong entity tag of a representation: of all that is told of a peer or an account.
func tag(representation any) string {
	text, err := json.Marshal(representation)
	if err != nil { // texts, numbers and times always can
		panic(fmt.Errorf("httpapi: %T as JSON: %w", representation, err))
	}
	sum := sha256.Sum256(text)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
}

// notModified judges a GET of what has a tag: whether the one who asks has it already.
func notModified(c param.Conditions, tag string) (same bool, err error) {
	if c.IfMatch != "" && !listed(c.IfMatch, tag, false) {
		return false, mismatch("If-Match", tag)
	}
	return c.IfNoneMatch != "" && listed(c.IfNoneMatch, tag, true), nil
}

// allowed judges a change of what has a tag, which is empty if there is nothing.
func allowed(c param.Conditions, tag string) error {
	if c.IfMatch != "" && !listed(c.IfMatch, tag, false) {
		return mismatch("If-Match", tag)
	}
	if c.IfNoneMatch != "" && listed(c.IfNoneMatch, tag, true) {
		return mismatch("If-None-Match", tag)
	}
	return nil
}

func mismatch(header, tag string) error {
	detail := "there is nothing that " + header + " could be about"
	if tag != "" {
		detail = header + " does not allow it: what is there has the entity tag " + tag + ": read it again, and ask anew"
	}
	return problem.New(http.StatusPreconditionFailed, PreconditionFailed, detail)
}

// listed reports whether a tag is in a list of such, or the list is *. Tags marked weak are the same as strong ones only in a
// weak comparison (RFC 9110, section 8.8.3.2). A tag of the API's has no comma.
func listed(list, tag string, weak bool) bool {
	if tag == "" {
		return false
	}
	if strings.TrimSpace(list) == "*" {
		return true
	}
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if weak {
			item = strings.TrimPrefix(item, "W/")
		}
		if item == tag {
			return true
		}
	}
	return false
}
