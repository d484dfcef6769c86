-- The rest of oracle_views.sql: what is sent and answered, and what is known of everyone at the months' beginnings.

-- engagement ------------------------------------------------------------------------------------------------------
channels as (
    from (values ('email', 0.25::double, 0.03::double), ('sms', 0, 0.05), ('push', 0.1, 0.03))
        as c(channel, opens, clicks)
),
opened as (
    select o.* exclude (channel), coalesce(o.channel, 'email') as channel, coalesce(o.flagged, false) or exists (
        select 1 from k as sent where sent.type = 'send' and sent.customer_id = o.customer_id and sent.as_of = o.as_of
        and sent.message_id = o.message_id and o.occurred_at < sent.occurred_at + interval 10 second
    ) as machine
    from k as o where o.type = 'open'
),
sent as (
    select m.* exclude (channel), coalesce(m.channel, 'email') as channel,
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
            and coalesce(c.channel, 'email') = coalesce(m.channel, 'email')
        ), true) as since_click,
        m.channel is distinct from 'sms' as openable
    from k as m where m.type = 'send'
),
sending as (
    select customer_id, as_of, channel,
        count(*) filter (ago <= day(30)) as sends_30d,
        count(*) filter (ago <= day(365)) as sent,
        count(*) filter (ago <= day(365) and was_opened) as opened,
        count(*) filter (ago <= day(365) and was_clicked) as clicked,
        count(*) filter (since_click) as sends_since_click
    from sent group by all
),
opening as (
    select customer_id, as_of, channel,
        count(*) filter (not machine and ago <= day(90)) as opens_90d,
        count(*) filter (machine and ago <= day(90)) as machine_opens_90d
    from opened group by all
),
answering as (
    select customer_id, as_of, coalesce(channel, 'email') as channel,
        count(*) filter (type = 'click' and ago <= day(90)) as clicks_90d
    from k group by all
),
leaving as (
    select customer_id, as_of, c.channel, count(*) as unsubscribes_365d
    from k join channels as c on c.channel = coalesce(k.channel, c.channel)
    where type = 'unsubscribe' and ago <= day(365) group by all
),
means as (
    select month, c.channel,
        (count(*) filter (was_opened) + 100.0::double * any_value(c.opens)) / (count(s.as_of) + 100.0::double)
            as open_mean,
        (count(*) filter (was_clicked) + 100.0::double * any_value(c.clicks)) / (count(s.as_of) + 100.0::double)
            as click_mean
    from months cross join channels as c left join (from sent where ago <= day(365)) as s
        on s.as_of = months.month and s.channel = c.channel
    group by month, c.channel
),
by_channel as (
    select v.customer_id, v.as_of, c.channel, coalesce(sends_30d, 0) as sends_30d,
        coalesce(opens_90d, 0) as opens_90d, coalesce(machine_opens_90d, 0) as machine_opens_90d,
        coalesce(clicks_90d, 0) as clicks_90d, coalesce(unsubscribes_365d, 0) as unsubscribes_365d,
        coalesce(sends_since_click, 0) as sends_since_click,
        (coalesce(opened, 0) + 10.0::double * open_mean) / (coalesce(sent, 0) + 10.0::double) as open_rate,
        (coalesce(clicked, 0) + 10.0::double * click_mean) / (coalesce(sent, 0) + 10.0::double) as click_rate
    from everyone as v cross join channels as c
    join means as m on m.channel = c.channel and m.month = date_trunc('month', v.as_of)
    left join sending as s on (s.customer_id, s.as_of, s.channel) = (v.customer_id, v.as_of, c.channel)
    left join opening as o on (o.customer_id, o.as_of, o.channel) = (v.customer_id, v.as_of, c.channel)
    left join answering as w on (w.customer_id, w.as_of, w.channel) = (v.customer_id, v.as_of, c.channel)
    left join leaving as l on (l.customer_id, l.as_of, l.channel) = (v.customer_id, v.as_of, c.channel)
),
side_by_side as (
    pivot by_channel on channel in ('email', 'sms', 'push') using
        first(sends_30d) as sends_30d, first(opens_90d) as opens_90d, first(machine_opens_90d) as machine_opens_90d,
        first(clicks_90d) as clicks_90d, first(unsubscribes_365d) as unsubscribes_365d,
        first(sends_since_click) as sends_since_click, first(open_rate) as open_rate, first(click_rate) as click_rate
    group by customer_id, as_of
),
totals as (
    select customer_id, as_of,
        count(*) filter (type = 'send' and ago <= day(7)) as sends_7d,
        count(*) filter (type = 'send' and ago <= day(90)) as sends_90d,
        min(ago) filter (type = 'send') / day(1) as days_since_send,
        min(ago) filter (type = 'click') / day(1) as days_since_click
    from k group by all
),
by_hand as (
    select customer_id, as_of, min(ago) filter (not machine) / day(1) as days_since_open from opened group by all
),
engagement as (
    from totals join side_by_side using (customer_id, as_of) left join by_hand using (customer_id, as_of)
),

-- send_hours ------------------------------------------------------------------------------------------------------
kinds as (
    select 'open' as kind, 0.25::double as prior union all select 'click', 0.03::double
),
segments as (
    select customer_id, as_of, timezone as zone,
        case when stage in ('lead', 'customer') then stage else 'other' end as segment
    from attributes
),
clocked as (
    select customer_id, as_of, segment, was_opened, was_clicked,
        (isodow(local) - 1) * 24 + hour(local) as slot
    from (
        select sent.*, segment, timezone(
            case when zone in (select name from pg_timezone_names()) then zone else 'UTC' end, occurred_at::timestamptz
        ) as local
        from sent join segments using (customer_id, as_of) where ago <= day(365) and openable
    )
),
answers as (
    select clocked.*, kind,
        case kind when 'open' then was_opened else was_clicked end as answered from clocked, kinds
),
slots as (select unnest(generate_series(0, 167)) as slot),
groups as (select month, segment, kind, prior from months, kinds, (select unnest(['lead', 'customer', 'other']) as segment)),
overall as (
    select g.month, g.segment, g.kind,
        (count(*) filter (answered) + 200.0::double * any_value(prior)) / (count(r.slot) + 200.0::double) as mean
    from groups as g left join answers as r on (r.as_of, r.segment, r.kind) = (g.month, g.segment, g.kind)
    group by g.month, g.segment, g.kind
),
hours as (
    select g.month, g.segment, g.kind, g.mean, h.slot,
        ((count(*) filter (answered) + 50.0::double * any_value(g.mean)) / (count(r.slot) + 50.0::double))::float::double
            as profile
    from overall as g cross join slots as h left join answers as r
        on (r.as_of, r.segment, r.kind, r.slot) = (g.month, g.segment, g.kind, h.slot)
    group by g.month, g.segment, g.kind, g.mean, h.slot
),
kernel as (
    select x.slot, y.slot as near,
        [8, 6, 3, 1][1 + least(abs(x.slot % 24 - y.slot % 24), 24 - abs(x.slot % 24 - y.slot % 24))]
        * case when x.slot // 24 = y.slot // 24 then 4
               when (x.slot < 120) = (y.slot < 120) then 3 else 1 end as weight
    from slots as x, slots as y
    where least(abs(x.slot % 24 - y.slot % 24), 24 - abs(x.slot % 24 - y.slot % 24)) <= 3
),
own as (
    select customer_id, as_of, kind, count(*) as sends, count(*) filter (answered) as hits from answers group by all
),
nearby as (
    select customer_id, as_of, kind, kernel.slot, sum(weight) as sends,
        coalesce(sum(weight) filter (answered), 0) as hits
    from answers join kernel on kernel.near = answers.slot group by all
),
rates as (
    select v.customer_id, v.as_of, h.kind, h.slot, any_value(coalesce(own.sends, 0)) as total,
        any_value((coalesce(n.hits, 0) + 64.0::double * least(h.profile * (
            (coalesce(own.hits, 0) + 8.0::double * h.mean) / (coalesce(own.sends, 0) + 8.0::double) / h.mean
        ), 1.0::double)) / (coalesce(n.sends, 0) + 64.0::double)) as rate
    from everyone as v join segments using (customer_id, as_of)
    join hours as h on h.month = date_trunc('month', v.as_of) and h.segment = segments.segment
    left join own on (own.customer_id, own.as_of, own.kind) = (v.customer_id, v.as_of, h.kind)
    left join nearby as n on (n.customer_id, n.as_of, n.kind, n.slot) = (v.customer_id, v.as_of, h.kind, h.slot)
    group by all
),
send_hours as (
    select customer_id, as_of, list(rate order by slot) filter (kind = 'open') as open_rate,
        list(rate order by slot) filter (kind = 'click') as click_rate,
        max(rate) filter (kind = 'open') as best_open_rate, any_value(total) as sends_365d
    from rates group by all
)
