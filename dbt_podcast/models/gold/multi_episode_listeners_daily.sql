-- grain: one UTC day with at least one such listener
with

facts as (

    select * from {{ ref("fact_user_interactions") }}

),

listeners as (

    select
        event_date,
        user_id
    from facts
    where event_type in ('play', 'complete')
    group by event_date, user_id
    having count(distinct episode_id) >= 3

)

select
    event_date,
    count(*) as listener_count
from listeners
group by event_date
