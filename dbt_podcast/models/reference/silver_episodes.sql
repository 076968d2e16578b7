-- grain: one episode of the reference data
{{ config(alias="episodes") }}
-- depends_on: {{ ref("reference_changes") }}

with

episodes as (

    select * from {{ reference_rows("episodes") }}

)

select
    cast(episode_id as {{ text_type() }}) as episode_id,
    cast(podcast_id as {{ text_type() }}) as podcast_id,
    cast(title as {{ text_type() }}) as title,
    cast(release_date as date) as release_date,
    cast(duration_seconds as integer) as duration_seconds
from episodes
