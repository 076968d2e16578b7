-- grain: one user and episode with a listen
{{ config(
    materialized="incremental",
    incremental_strategy="replace_touched_listening",
    unique_key=["user_id"],
    on_schema_change="append_new_columns",
) }}
-- depends_on: {{ ref("touched_listening") }}

with

-- all that a touched user heard: a listen changes whether the user went on from another episode
listens as (

    select
        listens.user_id,
        listens.episode_id,
        dim_episodes.podcast_id,
        listens.started_at
    from {{ ref("fact_listens") }} as listens
    {% if is_incremental() %}
    {{ of_touched_listening("listens", ["user_id"]) }}
    {% endif %}
    left join {{ ref("dim_episodes") }} as dim_episodes
        on listens.episode_id = dim_episodes.episode_id

),

firsts as (

    select
        user_id,
        episode_id,
        podcast_id,
        count(*) as listens,
        min(started_at) as first_listen_at
    from listens
    group by user_id, episode_id, podcast_id

),

onward as (

    select distinct
        firsts.user_id,
        firsts.episode_id
    from firsts
    inner join listens
        on firsts.user_id = listens.user_id
        and firsts.podcast_id = listens.podcast_id
        and firsts.episode_id <> listens.episode_id
        and firsts.first_listen_at <= listens.started_at
        and listens.started_at < {{ add_minutes("firsts.first_listen_at", 7 * 24 * 60) }}

)

select
    firsts.user_id,
    firsts.episode_id,
    firsts.podcast_id,

    firsts.listens,

    onward.user_id is not null as went_on,

    firsts.first_listen_at,
    cast(firsts.first_listen_at as date) as first_listen_date
from firsts
left join onward
    on firsts.user_id = onward.user_id
    and firsts.episode_id = onward.episode_id
