-- grain: one episode and UTC day on which a listen of it began
{{ config(
    materialized="incremental",
    incremental_strategy="replace_touched_listening",
    unique_key=["episode_id", "event_date"],
    on_schema_change="append_new_columns",
) }}
-- depends_on: {{ ref("touched_listening") }}

with

listens as (

    select listens.*
    from {{ ref("fact_listens") }} as listens
    {% if is_incremental() %}
    where listens.episode_id in (select episode_id from {{ ref("touched_listening") }})
        and listens.event_date in (select event_date from {{ ref("touched_listening") }})
    {% endif %}

),

dim_episodes as (

    select * from {{ ref("dim_episodes") }}

),

days as (

    select
        episode_id,
        event_date,
        sum(starts) as starts,
        count(*) as listens,
        count(case when is_valid then 1 end) as valid_listens,
        count(case when is_completed then 1 end) as completions,
        count(case when is_completion_qualified then 1 end) as qualified_completions,
        count(case when is_overlong then 1 end) as overlong_listens,
        count(case when is_completion_without_play then 1 end) as completions_without_play,
        count(case when session_number = 1 then 1 end) as new_listeners,
        sum(listened_seconds) as listened_seconds,
        -- each listener by the first listen, so that nothing has to be kept of the others
        count(case when is_first_of_day then 1 end) as unique_listeners,
        count(case when is_first_engaged_of_day then 1 end) as engaged_listeners,
        max(last_load_at) as last_load_at
    from listens
    group by episode_id, event_date

)

select
    days.episode_id,

    cast(days.starts as bigint) as starts,
    days.listens,
    days.valid_listens,
    days.completions,
    days.qualified_completions,
    days.overlong_listens,
    days.completions_without_play,
    days.new_listeners,
    cast(days.listened_seconds as bigint) as listened_seconds,
    days.unique_listeners,
    days.engaged_listeners,
    cast(days.listened_seconds as double) / 3600 as hours,

    coalesce(days.event_date < dim_episodes.release_date, false) as is_before_release,

    days.event_date,
    days.last_load_at
from days
{% if is_incremental() %}
{{ of_touched_listening("days", ["episode_id", "event_date"]) }}
{% endif %}
left join dim_episodes
    on days.episode_id = dim_episodes.episode_id
