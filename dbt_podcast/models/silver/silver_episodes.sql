-- grain: one episode of the reference data
{{ config(alias="episodes") }}

with

episodes as (

    select * from {{ ref("episodes") }}

)

select
    cast(episode_id as varchar) as episode_id,
    cast(podcast_id as varchar) as podcast_id,
    cast(title as varchar) as title,
    cast(release_date as date) as release_date,
    cast(duration_seconds as integer) as duration_seconds
from episodes
