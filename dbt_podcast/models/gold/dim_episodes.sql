-- grain: one episode of the reference data or of the facts
with

episodes as (

    select * from {{ ref("silver_episodes") }}

),

facts as (

    select * from {{ ref("fact_user_interactions") }}

),

inferred as (

    select distinct facts.episode_id
    from facts
    left join episodes
        on facts.episode_id = episodes.episode_id
    where episodes.episode_id is null

)

select
    episode_id,
    podcast_id,
    title,
    duration_seconds,
    false as is_inferred,
    release_date
from episodes

union all

select
    episode_id,
    cast(null as varchar) as podcast_id,
    cast(null as varchar) as title,
    cast(null as integer) as duration_seconds,
    true as is_inferred,
    cast(null as date) as release_date
from inferred
