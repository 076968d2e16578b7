-- grain: one source: the files whose paths differ in their digits only
{{ config(materialized="table", tags=["gold"]) }}

{# Gaps between arrivals that tell what is usual, and arrivals that it takes until they do. #}
{% set compared_gaps = 30 %}
{% set needed_arrivals = 10 %}
{# Hours: a source that comes more often is not called quiet earlier. #}
{% set least_patience = 1 %}

with

batches as (

    select * from {{ source("ops", "batches") }}

),

-- the first attempts of one source in one run came together
arrivals as (

    select
        {{ without_digits("filename") }} as source,
        run_id,
        count(*) as files,
        min(load_at) as arrived_at,
        max(load_at) as last_arrived_at
    from batches
    where attempt = 1
    group by {{ without_digits("filename") }}, run_id

),

gaps as (

    select
        source,
        {{ hours_between(
            "lag(arrived_at) over (partition by source order by arrived_at)", "arrived_at"
        ) }} as gap_hours,
        row_number() over (partition by source order by arrived_at desc) as newest_first
    from arrivals

),

usual as (

    select
        source,
        {{ median("gap_hours") }} as gap_hours
    from gaps
    where newest_first <= {{ compared_gaps }}
    group by source

),

deviations as (

    select
        gaps.source,
        {{ median("abs(gaps.gap_hours - usual.gap_hours)") }} as deviation_hours
    from gaps
    inner join usual
        on gaps.source = usual.source
    where gaps.newest_first <= {{ compared_gaps }}
    group by gaps.source

),

totals as (

    select
        source,
        cast(sum(files) as bigint) as files,
        count(*) as arrivals,
        min(arrived_at) as first_arrival_at,
        max(last_arrived_at) as last_arrival_at
    from arrivals
    group by source

),

-- no clock: what came last, of whatever source, is now
newest as (

    select max(load_at) as load_at
    from batches

),

measured as (

    select
        totals.*,
        usual.gap_hours as usual_gap_hours,
        case
            when totals.arrivals > 1
                then greatest(usual.gap_hours + 3 * 1.4826 * deviations.deviation_hours, {{ least_patience }})
        end as usual_silence_hours,
        {{ hours_between("totals.last_arrival_at", "newest.load_at") }} as silence_hours
    from totals
    cross join newest
    left join usual
        on totals.source = usual.source
    left join deviations
        on totals.source = deviations.source

)

select
    source,

    files,
    arrivals,
    usual_gap_hours,
    usual_silence_hours,
    silence_hours,
    case when arrivals >= {{ needed_arrivals }} then silence_hours / usual_silence_hours end as silence_ratio,

    first_arrival_at,
    last_arrival_at
from measured
