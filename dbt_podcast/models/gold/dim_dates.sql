-- grain: one day of the years in which there are facts
with

facts as (

    select
        min(event_date) as first_date,
        max(event_date) as last_date
    from {{ ref("fact_user_interactions") }}

),

days as (

    {{ days_of_years("facts", "first_date", "last_date") }}

)

select
    date_day,

    cast(extract(year from date_day) as integer) as year,
    cast(extract(quarter from date_day) as integer) as quarter,
    cast(extract(month from date_day) as integer) as month,
    {{ iso_week("date_day") }} as iso_week,
    {{ day_of_week("date_day") }} as day_of_week,

    {{ day_of_week("date_day") }} >= 6 as is_weekend,

    cast(date_trunc('month', date_day) as date) as month_start,
    {{ week_start("date_day") }} as week_start
from days
