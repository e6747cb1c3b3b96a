package sessiontest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// event is one of Stripe's, in the form of its API.
type event struct {
	id, kind string
	created  time.Time
	object   map[string]any
}

// subscription is an event about a subscription, in a period that has begun.
func subscription(id, kind, user, price, status string, created time.Time) event {
	return event{id, "customer.subscription." + kind, created, map[string]any{
		"id": "sub_" + user, "object": "subscription", "customer": "cus_" + user, "status": status,
		"metadata": map[string]any{"user_id": user},
		"items": map[string]any{"object": "list", "data": []any{map[string]any{
			"id": "si_1", "price": map[string]any{"id": price, "object": "price"},
			"current_period_start": created.Add(-24 * time.Hour).Unix(), "current_period_end": created.Add(29 * 24 * time.Hour).Unix(),
		}}},
	}}
}

func (e event) content() []byte {
	content, _ := json.Marshal(map[string]any{ // texts, numbers and maps always can
		"id": e.id, "object": "event", "api_version": "2025-03-31.basil", "created": e.created.Unix(), "type": e.kind,
		"livemode": false, "data": map[string]any{"object": e.object},
	})
	return content
}

// stripeSignature signs as Stripe does: an HMAC of the time and the body.
func stripeSignature(secret string, at time.Time, content []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%d.%s", at.Unix(), content)
	return fmt.Sprintf("t=%d,v1=%s", at.Unix(), hex.EncodeToString(mac.Sum(nil)))
}

// handled is what stripe-webhook answers.
type handled struct {
	Handled             bool
	Told, Ended, Failed int
}

// stripe has Stripe tell an event.
func (r *rig) stripe(e event) handled {
	r.t.Helper()
	content := e.content()
	return read[handled](r, r.send(http.MethodPost, "/stripe-webhook", content, "Stripe-Signature",
		stripeSignature(stripeSecret, time.Now(), content)))
}

func (r *rig) plan(user string) string {
	r.t.Helper()
	return value[string](r, "select coalesce((select plan from vpn_allowance($1)), 'none')", user)
}

// What Stripe tells becomes a plan: once for each event, and by the time that it was made, not that at which it comes.
func TestStripeEvents(t *testing.T) {
	r := newRig(t)
	now := time.Now()
	require.True(t, r.stripe(subscription("evt_1", "created", "ada", "price_basic", "incomplete", now.Add(-5*time.Minute))).Handled)
	require.Equal(t, "none", r.plan("ada"), "nothing was paid yet")
	r.stripe(subscription("evt_2", "updated", "ada", "price_basic", "active", now.Add(-4*time.Minute)))
	require.Equal(t, "basic", r.plan("ada"))
	// The same event twice, though it says something else now.
	require.False(t, r.stripe(subscription("evt_2", "updated", "ada", "price_pro", "active", now.Add(-4*time.Minute))).Handled)
	require.Equal(t, "basic", r.plan("ada"))
	// Out of order: the later event comes first.
	r.stripe(subscription("evt_4", "updated", "ada", "price_pro", "active", now.Add(-2*time.Minute)))
	r.stripe(subscription("evt_3", "updated", "ada", "price_tiny", "active", now.Add(-3*time.Minute)))
	require.Equal(t, "pro", r.plan("ada"))
	r.stripe(subscription("evt_5", "updated", "ada", "price_pro", "past_due", now.Add(-90*time.Second)))
	require.Equal(t, "pro", r.plan("ada"), "Stripe goes on trying to be paid")
	// The end is the end, also of those that come later within the same second.
	r.stripe(subscription("evt_7", "deleted", "ada", "price_pro", "canceled", now.Add(-time.Minute)))
	r.stripe(subscription("evt_6", "updated", "ada", "price_pro", "active", now.Add(-time.Minute)))
	require.Equal(t, "none", r.plan("ada"))
	require.EqualValues(t, 7, value[int64](r, "select count(*) from stripe_events"))

	// A price that no plan has is an error, until a plan has it: the event counts as one that never came.
	unknown := subscription("evt_8", "created", "bob", "price_new", "active", now)
	content := unknown.content()
	ask := func() answer {
		return r.send(http.MethodPost, "/stripe-webhook", content, "Stripe-Signature", stripeSignature(stripeSecret, time.Now(), content))
	}
	r.refused(ask(), http.StatusConflict, "conflict")
	r.exec("update plans set stripe_prices = stripe_prices || 'price_new'::text where id = 'pro'")
	require.True(t, read[handled](r, ask()).Handled)
	require.Equal(t, "pro", r.plan("bob"))

	// One that ends needs no plan that has its price: otherwise it would be served for ever.
	r.exec("update plans set stripe_prices = array_remove(stripe_prices, 'price_new') where id = 'pro'")
	require.True(t, r.stripe(subscription("evt_13", "deleted", "bob", "price_new", "canceled", now)).Handled)
	require.Equal(t, "none", r.plan("bob"))

	// A subscription that comes before it is known whose it is.
	early := subscription("evt_9", "created", "eve", "price_basic", "active", now)
	early.object["metadata"] = map[string]any{}
	r.stripe(early)
	require.Equal(t, "none", r.plan("eve"))
	checkout := event{"evt_10", "checkout.session.completed", now, map[string]any{
		"id": "cs_1", "object": "checkout.session", "client_reference_id": "eve", "customer": "cus_eve", "metadata": map[string]any{},
	}}
	r.stripe(checkout)
	require.Equal(t, "basic", r.plan("eve"))
	// A second user does not take the customer over.
	checkout.id, checkout.object["client_reference_id"] = "evt_11", "mallory"
	r.stripe(checkout)
	require.Equal(t, "none", r.plan("mallory"))
	require.Equal(t, "basic", r.plan("eve"))
	// What is of no concern is acknowledged.
	require.True(t, r.stripe(event{"evt_12", "invoice.paid", now, map[string]any{"id": "in_1", "object": "invoice"}}).Handled)
}

// Stripe's signature is looked at before anything else.
func TestStripeSignatures(t *testing.T) {
	r := newRig(t)
	content := subscription("evt_1", "created", "ada", "price_pro", "active", time.Now()).content()
	now := time.Now()
	for name, signature := range map[string]string{
		"none":             "",
		"of another":       stripeSignature("whsec_of_another", now, content),
		"of another body":  stripeSignature(stripeSecret, now, append(content[:len(content)-1:len(content)-1], ' ', '}')),
		"old":              stripeSignature(stripeSecret, now.Add(-6*time.Minute), content),
		"of another time":  fmt.Sprintf("t=%d,%s", now.Unix(), stripeSignature(stripeSecret, now.Add(-time.Hour), content)[13:]),
		"without its time": stripeSignature(stripeSecret, now, content)[13:],
	} {
		t.Run(name, func(t *testing.T) {
			a := r.send(http.MethodPost, "/stripe-webhook", content, "Stripe-Signature", signature)
			r.refused(a, http.StatusBadRequest, "denied")
		})
	}
	require.Equal(t, "none", r.plan("ada"))
	require.Zero(t, value[int64](r, "select count(*) from stripe_events"))
}
