-- grain: one week of first valid listens, and one week since
with

seen as (

    {{ seen_until(ref("fact_user_interactions")) }}

),

dim_dates as (

    select * from {{ ref("dim_dates") }}

),

active_weeks as (

    select distinct
        listener_daily.user_id,
        {{ week_start("listener_daily.event_date") }} as week_start
    from {{ ref("listener_daily") }} as listener_daily
    cross join seen
    where listener_daily.valid_listens > 0
        and listener_daily.event_date < seen.end_date

),

listeners as (

    select
        user_id,
        min(week_start) as cohort_week
    from active_weeks
    group by user_id

),

cohorts as (

    select
        cohort_week,
        count(*) as cohort_listeners
    from listeners
    group by cohort_week

),

activity as (

    select
        listeners.cohort_week,
        active_weeks.week_start,
        count(*) as active_listeners
    from active_weeks
    inner join listeners
        on active_weeks.user_id = listeners.user_id
    group by listeners.cohort_week, active_weeks.week_start

),

weeks as (

    select distinct dim_dates.week_start
    from dim_dates
    cross join seen
    where dim_dates.date_day < seen.end_date

),

cells as (

    select
        cohorts.cohort_week,
        weeks.week_start,
        cohorts.cohort_listeners,
        {{ add_days("weeks.week_start", 7) }} <= seen.end_date as is_week_over
    from cohorts
    inner join weeks
        on cohorts.cohort_week <= weeks.week_start
    cross join seen

)

select
    cells.cohort_week,

    cast({{ days_between("cells.cohort_week", "cells.week_start") }} / 7 as integer) as week_number,
    cells.cohort_listeners,
    case when cells.is_week_over then coalesce(activity.active_listeners, 0) end as active_listeners,
    case
        when cells.is_week_over then {{ share_of("coalesce(activity.active_listeners, 0)", "cells.cohort_listeners") }}
    end as retention_rate,

    cells.is_week_over,

    cells.week_start
from cells
left join activity
    on cells.cohort_week = activity.cohort_week
    and cells.week_start = activity.week_start
