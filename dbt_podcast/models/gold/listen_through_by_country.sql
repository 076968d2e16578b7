-- grain: one country
with

facts as (

    select * from {{ ref("fact_user_interactions") }}

),

dim_users as (

    select * from {{ ref("dim_users") }}

),

dim_episodes as (

    select * from {{ ref("dim_episodes") }}

),

completions as (

    select
        dim_users.country,
        -- decimal: a sum of doubles depends on the order of its rows, which no two histories share
        cast(cast(facts.duration as double) / dim_episodes.duration_seconds as decimal(38, 15)) as listen_through_rate
    from facts
    inner join dim_users
        on facts.user_id = dim_users.user_id
    inner join dim_episodes
        on facts.episode_id = dim_episodes.episode_id
    where facts.event_type = 'complete'
        and {{ trim_unicode("dim_users.country") }} <> ''
        and dim_episodes.duration_seconds > 0

)

select
    country,
    cast(sum(listen_through_rate) as double) / count(*) as avg_listen_through_rate,
    count(*) as completion_count
from completions
group by country
