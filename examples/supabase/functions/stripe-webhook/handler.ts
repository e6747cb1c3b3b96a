// What Stripe tells of subscriptions: each event once, in whatever order they come. A change of plan is in force on the nodes of the
// user's live sessions when this answers, or as soon as session-cleanup reaches them.

import { Stripe } from "npm:stripe@23.1.0";
import { transaction, type Tx } from "../_shared/db.ts";
import { enforce } from "../_shared/plans.ts";
import { answer, Problem } from "../_shared/problem.ts";
import { type Call, serve } from "../_shared/serve.ts";

export const handler = serve("stripe-webhook", { "": { run: webhook, limit: 256 << 10 } });

/** How old a signed event may be, in seconds: Stripe signs anew each time that it sends one. */
const tolerance = 300;

/** How long nodes are told before Stripe has its answer, in ms. */
const patience = 8_000;

async function webhook({ request, body }: Call): Promise<Response> {
  const event = await verify(body, request.headers.get("Stripe-Signature") ?? "");
  const { users, handled } = await transaction(async (tx) => {
    const [fresh] =
      await tx`insert into stripe_events (id, type, created) values (${event.id}, ${event.type}, to_timestamp(${event.created}))
      on conflict (id) do nothing returning id`;
    return fresh ? { users: await handle(tx, event), handled: true } : { users: [], handled: false };
  });
  const result = { told: 0, ended: 0, failed: 0 };
  for (const user of users) {
    const { told, ended, failed } = await enforce({ user }, Date.now() + patience);
    result.told += told;
    result.ended += ended;
    result.failed += failed; // session-cleanup goes on with those
  }
  return answer({ event: event.id, handled, ...result });
}

/** The event, if Stripe has signed it with the secret of this endpoint, and lately. */
async function verify(body: Uint8Array, signature: string): Promise<Stripe.Event> {
  const secret = Deno.env.get("STRIPE_WEBHOOK_SECRET");
  if (!secret) throw new Problem("internal", "the function lacks the secret of its endpoint: STRIPE_WEBHOOK_SECRET is not set");
  try {
    const provider = Stripe.createSubtleCryptoProvider();
    // The key of Stripe's API is not needed for that, and is not here.
    const { webhooks } = new Stripe("none");
    return await webhooks.constructEventAsync(new TextDecoder().decode(body), signature, secret, tolerance, provider);
  } catch (error) {
    throw new Problem("denied", "the event is not signed by Stripe, or is too old", { status: 400, cause: error });
  }
}

/** Writes down what an event says, and returns whose sessions it is about. */
async function handle(tx: Tx, event: Stripe.Event): Promise<string[]> {
  switch (event.type) {
    case "checkout.session.completed": {
      const { client_reference_id, customer, metadata } = event.data.object;
      return await own(tx, nameOf(customer), client_reference_id ?? metadata?.user_id);
    }
    case "customer.subscription.created":
    case "customer.subscription.updated":
    case "customer.subscription.paused":
    case "customer.subscription.resumed":
    case "customer.subscription.deleted":
      return await subscribe(tx, event.data.object, event.created);
    default: // an invoice that is paid, or is not, changes a subscription, and Stripe tells that, too
      return [];
  }
}

/** Notes whose a customer is, and gives them the subscriptions that came before that was known. The first to be named stays. */
async function own(tx: Tx, customer: string | undefined, user: string | null | undefined): Promise<string[]> {
  if (!customer || !user) return [];
  await tx`insert into stripe_customers (customer, user_id) values (${customer}, ${user}) on conflict (customer) do nothing`;
  const [{ user_id }] = await tx`update subscriptions s set user_id = c.user_id, updated_at = now() from stripe_customers c
      where c.customer = ${customer} and s.stripe_customer = c.customer and s.user_id is null returning s.user_id`
    .then((rows) => rows.length ? rows : [{ user_id: undefined }]);
  if (!user_id) return [];
  await tx`select vpn_recount(${user_id})`;
  return [user_id];
}

/**
 * Writes down a subscription as an event has it, unless a later event has been written down. Within one second Stripe's events have no
 * order: there the end of a subscription counts, which is for good, and else what comes last.
 */
async function subscribe(tx: Tx, subscription: Stripe.Subscription, created: number): Promise<string[]> {
  const { data: items } = subscription.items;
  const prices = JSON.stringify(items.map((item) => item.price.id));
  const [plan] = await tx`select p.id, price from plans p, unnest(p.stripe_prices) price
    where price in (select jsonb_array_elements_text(${prices}::text::jsonb)) order by p.rank desc, p.id limit 1`;
  if (!plan) {
    const [known] =
      await tx`select from subscriptions where stripe_subscription = ${subscription.id} and not vpn_serves(${subscription.status})`;
    if (known) return await unserve(tx, subscription, created);
    // Stripe sends the event again, for days: time to add the price to a plan.
    throw new Problem("conflict", `no plan has a price of ${prices}: add it to stripe_prices of one`);
  }
  const item = items.find((item) => item.price.id === plan.price)!;
  const customer = nameOf(subscription.customer);
  await own(tx, customer, subscription.metadata?.user_id);
  // Stripe's API had the period in the subscription itself before 2025-03-31.
  const { current_period_start: start, current_period_end: end } = item.current_period_start ? item : subscription as never as typeof item;
  const [row] = await tx`insert into subscriptions as s
      (user_id, plan, status, stripe_customer, stripe_subscription, period_start, period_end, told_at)
    values ((select user_id from stripe_customers where customer = ${customer ?? null}), ${plan.id}, ${subscription.status},
      ${customer ?? null}, ${subscription.id}, to_timestamp(${start}), to_timestamp(${end}), to_timestamp(${created}))
    on conflict (stripe_subscription) do update set plan = excluded.plan, status = excluded.status, period_start = excluded.period_start,
      period_end = excluded.period_end, told_at = excluded.told_at, updated_at = now(), user_id = coalesce(s.user_id, excluded.user_id)
    where s.told_at <= excluded.told_at and s.status not in ('canceled', 'incomplete_expired')
    returning user_id`;
  if (!row?.user_id) return [];
  await tx`select vpn_recount(${row.user_id})`;
  return [row.user_id];
}

/** Writes down that a subscription is served no more, which needs no plan: its price may have been taken from one since. */
async function unserve(tx: Tx, subscription: Stripe.Subscription, created: number): Promise<string[]> {
  const [row] = await tx`update subscriptions s set status = ${subscription.status}, told_at = to_timestamp(${created}), updated_at = now()
    where s.stripe_subscription = ${subscription.id} and s.told_at <= to_timestamp(${created})
      and s.status not in ('canceled', 'incomplete_expired')
    returning user_id`;
  return row?.user_id ? [row.user_id] : [];
}

const nameOf = (of: string | { id: string } | null | undefined) => typeof of === "string" ? of : of?.id;
