-- grain: one user and UTC day with a play or completion, or on which a listen began
{{ config(
    materialized="incremental",
    incremental_strategy="replace_touched_listening",
    unique_key=["user_id", "event_date"],
    on_schema_change="append_new_columns",
) }}
-- depends_on: {{ ref("touched_listening") }}

with

facts as (

    select facts.*
    from {{ ref("fact_user_interactions") }} as facts
    {% if is_incremental() %}
    {{ of_touched_listening("facts", ["user_id", "event_date"]) }}
    {% endif %}
    where facts.event_type in ('play', 'complete')

),

listens as (

    select listens.*
    from {{ ref("fact_listens") }} as listens
    {% if is_incremental() %}
    {{ of_touched_listening("listens", ["user_id", "event_date"]) }}
    {% endif %}

),

dim_episodes as (

    select * from {{ ref("dim_episodes") }}

),

heard as (

    select
        facts.user_id,
        facts.event_date,
        count(distinct facts.episode_id) as episodes,
        count(distinct dim_episodes.podcast_id) as podcasts
    from facts
    left join dim_episodes
        on facts.episode_id = dim_episodes.episode_id
    group by facts.user_id, facts.event_date

),

begun as (

    select
        user_id,
        event_date,
        count(*) as listens,
        count(case when is_valid then 1 end) as valid_listens,
        sum(listened_seconds) as listened_seconds
    from listens
    group by user_id, event_date

),

-- a listen that begins with a pause just before midnight has its first play on the next day
days as (

    select
        coalesce(heard.user_id, begun.user_id) as user_id,
        coalesce(heard.event_date, begun.event_date) as event_date,
        coalesce(heard.episodes, 0) as episodes,
        coalesce(heard.podcasts, 0) as podcasts,
        coalesce(begun.listens, 0) as listens,
        coalesce(begun.valid_listens, 0) as valid_listens,
        coalesce(begun.listened_seconds, 0) as listened_seconds
    from heard
    full outer join begun
        on heard.user_id = begun.user_id
        and heard.event_date = begun.event_date

)

select
    user_id,

    episodes,
    podcasts,
    listens,
    valid_listens,
    cast(listened_seconds as bigint) as listened_seconds,
    cast(listened_seconds as double) / 3600 as hours,

    episodes >= 3 as is_multi_episode,

    event_date
from days
