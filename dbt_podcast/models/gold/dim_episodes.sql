-- grain: one episode of the reference data or of the facts
{{ config(
    materialized="incremental",
    incremental_strategy="replace_touched_listening",
    unique_key=["episode_id"],
    on_schema_change="append_new_columns",
) }}
-- depends_on: {{ ref("touched_listening") }}

with

episodes as (

    select episodes.*
    from {{ ref("silver_episodes") }} as episodes
    {% if is_incremental() %}
    {{ of_touched_listening("episodes", ["episode_id"]) }}
    {% endif %}

),

{% if is_incremental() %}
unknown as (

    select distinct touched.episode_id
    from {{ ref("touched_listening") }} as touched
    left join episodes
        on touched.episode_id = episodes.episode_id
    where episodes.episode_id is null

),

{% endif %}
facts as (

    select facts.episode_id
    from {{ ref("fact_user_interactions") }} as facts
    {% if is_incremental() %}
    inner join unknown
        on facts.episode_id = unknown.episode_id
    {% endif %}

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
    cast(null as {{ text_type() }}) as podcast_id,
    cast(null as {{ text_type() }}) as title,
    cast(null as integer) as duration_seconds,
    true as is_inferred,
    cast(null as date) as release_date
from inferred
