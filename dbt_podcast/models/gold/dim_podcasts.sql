-- grain: one podcast that an episode of the reference data belongs to
with

dim_episodes as (

    select * from {{ ref("dim_episodes") }}

)

select
    podcast_id,

    count(*) as episode_count,
    count(case when duration_seconds > 0 then 1 end) as episodes_of_known_length,

    min(release_date) as first_release_date,
    max(release_date) as last_release_date
from dim_episodes
where podcast_id is not null
group by podcast_id
