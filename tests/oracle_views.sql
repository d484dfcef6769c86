-- An independent account of every feature view, written from their docstrings in another language than theirs.
-- Tables: e (events, naive UTC instants), s (spine: customer_id, as_of). One row per customer known at an instant.
with k as (
    select s.customer_id, s.as_of, e.* exclude (customer_id),
           epoch_us(s.as_of) - epoch_us(e.occurred_at) as ago,
           e.properties ->> '$.machine' = 'true' as flagged
    from s join e on e.customer_id = s.customer_id
    where e.occurred_at < s.as_of and e.received_at <= s.as_of
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
        count(*) filter (ago <= day(30)) as count_30d,
        count(*) filter (ago <= day(90)) as count_90d,
        count(*) filter (ago <= day(365)) as count_365d,
        count(*) as count_total,
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
returned as (
    select customer_id, as_of, count(*) as refunds_365d, sum(cents) / 100 as refunded_365d
    from o where type = 'refund' and ago <= day(365) group by all
),
orders as (
    select customer_id, as_of,
        coalesce(count_30d, 0) as count_30d, coalesce(count_90d, 0) as count_90d,
        coalesce(count_365d, 0) as count_365d, coalesce(count_total, 0) as count_total,
        coalesce(revenue_30d, 0) as revenue_30d, coalesce(revenue_90d, 0) as revenue_90d,
        coalesce(revenue_365d, 0) as revenue_365d, coalesce(revenue_total, 0) as revenue_total,
        days_since_last, days_since_first, average_value, largest_value, last_value, items_per_order, discount_share,
        mean_gap_days,
        case when mean_gap_days > 0 then days_since_last / mean_gap_days end as gap_ratio,
        coalesce(refunds_365d, 0) as refunds_365d, coalesce(refunded_365d, 0) as refunded_365d
    from everyone left join bought using (customer_id, as_of) left join returned using (customer_id, as_of)
),

-- engagement ------------------------------------------------------------------------------------------------------
opened as (
    select o.*, coalesce(o.flagged, false) or exists (
        select 1 from k as sent where sent.type = 'send' and sent.customer_id = o.customer_id and sent.as_of = o.as_of
        and sent.message_id = o.message_id and o.occurred_at < sent.occurred_at + interval 10 second
    ) as machine
    from k as o where o.type = 'open'
),
sent as (
    select m.*,
        exists (
            select 1 from k as r where r.type = 'open' and r.customer_id = m.customer_id and r.as_of = m.as_of
            and r.message_id = m.message_id and not coalesce(r.flagged, false)
            and r.occurred_at >= m.occurred_at + interval 10 second
        ) as was_opened,
        exists (
            select 1 from k as r where r.type = 'click' and r.customer_id = m.customer_id and r.as_of = m.as_of
            and r.message_id = m.message_id
        ) as was_clicked,
        coalesce(ago < (
            select min(ago) from k as c where c.type = 'click' and c.customer_id = m.customer_id and c.as_of = m.as_of
        ), true) as since_click,
        m.channel is distinct from 'sms' as openable
    from k as m where m.type = 'send'
),
sending as (
    select customer_id, as_of,
        count(*) filter (ago <= day(7)) as sends_7d, count(*) filter (ago <= day(30)) as sends_30d,
        count(*) filter (ago <= day(90)) as sends_90d,
        count(*) filter (ago <= day(365) and openable and was_opened)
            / nullif(count(*) filter (ago <= day(365) and openable), 0) as open_rate,
        count(*) filter (ago <= day(365) and was_clicked) / nullif(count(*) filter (ago <= day(365)), 0) as click_rate,
        count(*) filter (since_click) as sends_since_click,
        min(ago) / day(1) as days_since_send
    from sent group by all
),
opening as (
    select customer_id, as_of,
        count(*) filter (not machine and ago <= day(30)) as opens_30d,
        count(*) filter (not machine and ago <= day(90)) as opens_90d,
        count(*) filter (machine and ago <= day(90)) as machine_opens_90d,
        min(ago) filter (not machine) / day(1) as days_since_open
    from opened group by all
),
answering as (
    select customer_id, as_of,
        count(*) filter (type = 'click' and ago <= day(30)) as clicks_30d,
        count(*) filter (type = 'click' and ago <= day(90)) as clicks_90d,
        min(ago) filter (type = 'click') / day(1) as days_since_click,
        count(*) filter (type = 'unsubscribe' and ago <= day(365)) as unsubscribes_365d
    from k group by all
),
engagement as (
    select customer_id, as_of,
        coalesce(sends_7d, 0) as sends_7d, coalesce(sends_30d, 0) as sends_30d, coalesce(sends_90d, 0) as sends_90d,
        coalesce(opens_30d, 0) as opens_30d, coalesce(opens_90d, 0) as opens_90d, clicks_30d, clicks_90d,
        coalesce(machine_opens_90d, 0) as machine_opens_90d, open_rate, click_rate,
        coalesce(sends_since_click, 0) as sends_since_click,
        days_since_send, days_since_open, days_since_click, unsubscribes_365d
    from everyone left join sending using (customer_id, as_of) left join opening using (customer_id, as_of)
    left join answering using (customer_id, as_of)
),

-- web -------------------------------------------------------------------------------------------------------------
web as (
    select customer_id, as_of,
        count(*) filter (seen and ago <= day(7)) as views_7d,
        count(*) filter (seen and ago <= day(30)) as views_30d,
        count(*) filter (seen and ago <= day(90)) as views_90d,
        count(distinct session) filter (seen and ago <= day(30)) as sessions_30d,
        count(distinct ago // day(1)) filter (seen and ago <= day(30)) as active_days_30d,
        count(*) filter (priced and ago <= day(30)) as pricing_views_30d,
        count(*) filter (priced and ago <= day(90)) as pricing_views_90d,
        count(*) filter (type = 'cart' and ago <= day(7)) as carts_7d,
        count(*) filter (type = 'cart' and ago <= day(30)) as carts_30d,
        count(*) filter (type = 'cart' and ago <= day(90)) as carts_90d,
        count(*) filter (type = 'form' and ago <= day(30)) as forms_30d,
        count(*) filter (type = 'form' and ago <= day(90)) as forms_90d,
        min(ago) filter (seen) / day(1) as days_since_visit,
        min(ago) filter (priced) / day(1) as days_since_pricing,
        min(ago) filter (type = 'cart') / day(1) as days_since_cart,
        min(ago) filter (type = 'form') / day(1) as days_since_form
    from (
        select *, type = 'page_view' as seen, properties ->> '$.session' as session,
            type = 'page_view' and coalesce(lower(properties ->> '$.page') like '%pricing%', false) as priced
        from k
    ) group by all
),

-- profile ---------------------------------------------------------------------------------------------------------
said as (
    select *,
        case when type = 'profile' then properties end as attributes,
        case when type = 'lifecycle' then properties ->> '$.stage' end as stage,
        case when type = 'consent' and channel = 'email' then
                 case properties ->> '$.granted' when 'true' then 1 when 'false' then 0 end
             when type = 'unsubscribe' and coalesce(channel, 'email') = 'email' then 0 end as consent
    from k
),
profile as (
    select customer_id, as_of,
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
        min(ago) filter (stage is not null) / day(1) as days_since_stage,
        last(consent order by occurred_at, received_at, event_id) filter (consent is not null) as email_consent,
        min(ago) filter (consent is not null) / day(1) as days_since_consent
    from said group by all
),

-- send_hours ------------------------------------------------------------------------------------------------------
clocked as (
    select customer_id, as_of, was_opened, timezone(
        case when p.timezone in (select name from pg_timezone_names()) then p.timezone else 'UTC' end,
        occurred_at::timestamptz
    ) as local
    from sent join profile as p using (customer_id, as_of) where ago <= day(365) and openable
),
overall as (
    select customer_id, as_of,
        (count(*) filter (was_opened) + 8.0::double * 0.25::double) / (count(*) + 8.0::double) as rate
    from clocked group by all
),
slots as (select unnest(generate_series(0, 30)) as slot),
shrunk as (
    select customer_id, as_of, slot,
        case when slot < 24 then format('open_rate_h{:02d}', slot) else format('open_rate_d{}', slot - 24) end as name,
        (count(*) filter (was_opened and inside) + 6.0::double * any_value(rate))
            / (count(*) filter (inside) + 6.0::double) as rate
    from (
        select c.*, o.rate, slot,
            case when slot < 24 then hour(local) = slot else isodow(local) - 1 = slot - 24 end as inside
        from clocked as c join overall as o using (customer_id, as_of), slots
    ) group by all
),
by_slot as (
    select * from (
        pivot (select customer_id, as_of, name, rate from shrunk) on name in ($SLOTS)
        using first(rate) group by customer_id, as_of
    )
),
send_hours as (
    select customer_id, as_of, coalesce(columns('open_rate_.*'), 0.25)
    from everyone left join by_slot using (customer_id, as_of)
)
select * from $VIEW
