package problem_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/problem"
)

func TestWrite(t *testing.T) {
	reason := errors.New("a secret of the node's")
	p := problem.New(http.StatusUnprocessableEntity, problem.Invalid, "mend these", problem.Fault{
		Location: "query.limit", Message: "0 is out of range: give 1 to 1000",
	}).Because(reason)
	require.ErrorIs(t, p, reason)
	require.EqualError(t, p, "Invalid: mend these; query.limit: 0 is out of range: give 1 to 1000")

	w := httptest.NewRecorder()
	p.Write(w)
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
	require.JSONEq(t, `{"type": "/problems/invalid", "title": "Invalid", "status": 422, "detail": "mend these",
		"errors": [{"location": "query.limit", "message": "0 is out of range: give 1 to 1000"}]}`, w.Body.String())
}

func TestTitle(t *testing.T) {
	require.Equal(t, "Method not allowed", problem.New(http.StatusMethodNotAllowed, problem.MethodNotAllowed, "").Title)
}
