-- An independent account of every feature view, written from their docstrings in another language than theirs.
-- Tables: e (events, naive UTC instants), s (spine: customer_id, as_of), a (accounts: account_id, as_of).
-- What is known at a point, k: at each of the spine, for everyone at the months' first instants, and at each of a.
-- oracle_messages.sql goes on from here.
with months as (select distinct date_trunc('month', as_of) as month from (select as_of from s union select as_of from a)),
people as (select distinct customer_id from e),
points as (
    select customer_id, as_of from s
    union select customer_id, month from people, months
    union select customer_id, as_of from people, (select distinct as_of from a)
),
k as (
    select p.customer_id, p.as_of, e.* exclude (customer_id),
           epoch_us(p.as_of) - epoch_us(e.occurred_at) as ago,
           e.properties ->> '$.machine' = 'true' as flagged
    from points as p join e on e.customer_id = p.customer_id
    where e.occurred_at < p.as_of and e.received_at <= p.as_of
),
everyone as (select customer_id, as_of from k group by all),

-- orders ----------------------------------------------------------------------------------------------------------
o as (
    select *, round_even(amount * 100, 0)::bigint as cents,
           try_cast(properties ->> '$.discount' as double) as discount,
           try_cast(properties ->> '$.items' as double) as items
    from k where type in ('order', 'refund')
),
bought as (
    select customer_id, as_of,
        count(*) filter (ago <= day(7)) as count_7d,
        count(*) filter (ago <= day(30)) as count_30d,
        count(*) filter (ago <= day(90)) as count_90d,
        count(*) filter (ago <= day(365)) as count_365d,
        count(*) as count_total,
        count(*) filter (ago > day(90) and ago <= day(180)) as count_before,
        coalesce(sum(cents) filter (ago <= day(7)), 0) / 100 as revenue_7d,
        coalesce(sum(cents) filter (ago <= day(30)), 0) / 100 as revenue_30d,
        coalesce(sum(cents) filter (ago <= day(90)), 0) / 100 as revenue_90d,
        coalesce(sum(cents) filter (ago <= day(365)), 0) / 100 as revenue_365d,
        sum(cents) / 100 as revenue_total,
        min(ago) / day(1) as days_since_last,
        max(ago) / day(1) as days_since_first,
        sum(cents) / count(cents) / 100 as average_value,
        max(cents) / 100 as largest_value,
        last(cents order by occurred_at, received_at, event_id) / 100 as last_value,
        sum(round_even(items, 0)::bigint) / count(items) as items_per_order,
        sum(round_even(greatest(least(discount, 1), 0) * 10000, 0)::bigint) filter (discount is not null)
            / count(discount) / 10000 as discount_share,
        case when count(*) > 1 then (max(ago) - min(ago)) / (count(*) - 1) / day(1) end as mean_gap_days
    from o where type = 'order' group by all
),
gaps as (
    select customer_id, as_of, ((lag(ago) over (
        partition by customer_id, as_of order by occurred_at
    ) - ago) // 60000000)::double as gap from o where type = 'order'
),
spread as (
    select customer_id, as_of, case when count(gap) > 1 and sum(gap) > 0
        then sqrt(count(gap) * sum(gap * gap) - sum(gap) * sum(gap)) / sum(gap) end as gap_spread
    from gaps group by all
),
returned as (
    select customer_id, as_of, count(*) as refunds_365d, sum(cents) / 100 as refunded_365d
    from o where type = 'refund' and ago <= day(365) group by all
),
orders as (
    select customer_id, as_of,
        coalesce(count_7d, 0) as count_7d, coalesce(count_30d, 0) as count_30d, coalesce(count_90d, 0) as count_90d,
        coalesce(count_365d, 0) as count_365d, coalesce(count_total, 0) as count_total,
        coalesce(revenue_7d, 0) as revenue_7d, coalesce(revenue_30d, 0) as revenue_30d,
        coalesce(revenue_90d, 0) as revenue_90d, coalesce(revenue_365d, 0) as revenue_365d,
        coalesce(revenue_total, 0) as revenue_total,
        days_since_last, days_since_first, average_value, largest_value, last_value, items_per_order, discount_share,
        mean_gap_days, gap_spread,
        case when mean_gap_days > 0 then days_since_last / mean_gap_days end as gap_ratio,
        (coalesce(count_90d, 0) + 1) / (coalesce(count_before, 0) + 1) as trend_90d,
        coalesce(refunds_365d, 0) as refunds_365d, coalesce(refunded_365d, 0) as refunded_365d
    from everyone left join bought using (customer_id, as_of) left join spread using (customer_id, as_of)
    left join returned using (customer_id, as_of)
),

-- web -------------------------------------------------------------------------------------------------------------
w as (
    select *, type = 'page_view' as seen, properties ->> '$.session' as session,
        type = 'page_view' and coalesce(regexp_matches(lower(properties ->> '$.page'),
            '(^|[^a-z0-9])(pricing|prices|demo|trial|quote|checkout|contact)([^a-z0-9]|$)'), false) as intent,
        type = 'cart' and ago >= day(1) and not exists (
            select 1 from k as b where b.type = 'order' and b.customer_id = k.customer_id and b.as_of = k.as_of
            and b.ago <= k.ago and b.ago >= k.ago - day(1)
        ) as forgotten
    from k
),
web as (
    select customer_id, as_of,
        count(*) filter (seen and ago <= day(7)) as views_7d,
        count(*) filter (seen and ago <= day(30)) as views_30d,
        count(*) filter (seen and ago <= day(90)) as views_90d,
        count(distinct session) filter (seen and ago <= day(30)) as sessions_30d,
        count(*) filter (seen and session is not null and ago <= day(90))
            / nullif(count(distinct session) filter (seen and ago <= day(90)), 0) as pages_per_session_90d,
        count(distinct ago // day(1)) filter (seen and ago <= day(30)) as active_days_30d,
        count(*) filter (intent and ago <= day(30)) as intent_views_30d,
        count(*) filter (intent and ago <= day(90)) as intent_views_90d,
        count(*) filter (type = 'cart' and ago <= day(30)) as carts_30d,
        count(*) filter (type = 'cart' and ago <= day(90)) as carts_90d,
        count(*) filter (forgotten and ago <= day(90)) as carts_left_90d,
        count(*) filter (type = 'form' and ago <= day(30)) as forms_30d,
        count(*) filter (type = 'form' and ago <= day(90)) as forms_90d,
        min(ago) filter (seen) / day(1) as days_since_visit,
        min(ago) filter (intent) / day(1) as days_since_intent,
        min(ago) filter (type = 'cart') / day(1) as days_since_cart,
        min(ago) filter (type = 'form') / day(1) as days_since_form
    from w group by all
),

-- profile ---------------------------------------------------------------------------------------------------------
said as (
    select *, case when type = 'profile' then properties end as attributes,
        case when type = 'lifecycle' then properties ->> '$.stage' end as stage
    from k
),
attributes as (
    select customer_id, as_of,
        last(account_id order by occurred_at, received_at, event_id) filter (account_id is not null) as account_id,
        last(attributes ->> '$.country' order by occurred_at, received_at, event_id)
            filter (attributes ->> '$.country' is not null) as country,
        last(attributes ->> '$.source' order by occurred_at, received_at, event_id)
            filter (attributes ->> '$.source' is not null) as source,
        last(stage order by occurred_at, received_at, event_id) filter (stage is not null) as stage,
        last(attributes ->> '$.industry' order by occurred_at, received_at, event_id)
            filter (attributes ->> '$.industry' is not null) as industry,
        last(attributes ->> '$.company_size' order by occurred_at, received_at, event_id)
            filter (attributes ->> '$.company_size' is not null) as company_size,
        last(attributes ->> '$.timezone' order by occurred_at, received_at, event_id)
            filter (attributes ->> '$.timezone' is not null) as timezone,
        max(ago) / day(1) as tenure_days,
        min(ago) filter (stage is not null) / day(1) as days_since_stage
    from said group by all
),
consents as (
    select k.*, c.channel as about,
        case when k.type = 'unsubscribe' then 0 when k.properties ->> '$.granted' = 'true' then 1
             when k.properties ->> '$.granted' = 'false' then 0 end as granted
    from k join (values ('email'), ('sms'), ('push')) as c(channel)
        on k.channel = c.channel or (k.channel is null and k.type = 'unsubscribe')
    where k.type in ('consent', 'unsubscribe')
),
turns as (
    select *, lag(granted) over (
        partition by customer_id, as_of, about order by occurred_at, received_at, event_id
    ) is distinct from granted as turned
    from consents where granted is not null
),
consent as (
    select customer_id, as_of,
        last(granted order by occurred_at, received_at, event_id) filter (about = 'email') as email_consent,
        min(ago) filter (about = 'email' and turned) / day(1) as days_since_email_consent,
        last(granted order by occurred_at, received_at, event_id) filter (about = 'sms') as sms_consent,
        min(ago) filter (about = 'sms' and turned) / day(1) as days_since_sms_consent,
        last(granted order by occurred_at, received_at, event_id) filter (about = 'push') as push_consent,
        min(ago) filter (about = 'push' and turned) / day(1) as days_since_push_consent
    from turns group by all
),
profile as (from attributes left join consent using (customer_id, as_of)),

-- account ---------------------------------------------------------------------------------------------------------
members as (select a.account_id, a.as_of, p.customer_id from a join attributes as p using (account_id, as_of)),
theirs as (
    select members.account_id, said.* exclude (account_id, properties), round_even(said.amount * 100, 0)::bigint as cents,
        type in ('page_view', 'form', 'cart', 'order', 'click') as acted
    from members join said using (customer_id, as_of)
),
account as (
    select a.account_id, a.as_of,
        last(attributes ->> '$.industry' order by occurred_at, received_at, event_id)
            filter (attributes ->> '$.industry' is not null) as industry,
        last(attributes ->> '$.company_size' order by occurred_at, received_at, event_id)
            filter (attributes ->> '$.company_size' is not null) as company_size,
        count(distinct customer_id) as contacts,
        count(distinct customer_id) filter (acted and ago <= day(30)) as contacts_active_30d,
        count(distinct customer_id) filter (type = 'order' and ago <= day(365)) as buyers_365d,
        count(*) filter (type = 'order' and ago <= day(365)) as orders_365d,
        coalesce(sum(cents) filter (type = 'order' and ago <= day(365)), 0) / 100 as revenue_365d,
        count(*) filter (type = 'page_view' and ago <= day(30)) as views_30d,
        min(ago) filter (acted) / day(1) as days_since_active,
        min(ago) filter (type = 'order') / day(1) as days_since_order
    from a left join theirs using (account_id, as_of) group by all
),
