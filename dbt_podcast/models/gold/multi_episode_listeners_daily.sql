-- grain: one UTC day with at least one such listener
with

listener_daily as (

    select * from {{ ref("listener_daily") }}

)

select
    event_date,
    count(*) as listener_count
from listener_daily
where is_multi_episode
group by event_date
