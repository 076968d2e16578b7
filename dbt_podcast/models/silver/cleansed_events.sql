-- grain: one event: (user, episode, event type, time)
{{ config(
    materialized="incremental",
    incremental_strategy="replace_touched_keys",
    on_schema_change="append_new_columns",
) }}
-- depends_on: {{ ref("touched_keys") }}

with

validated_events as (

    select * from {{ ref("validated_events") }}
    where is_valid

),

{% if is_incremental() %}
touched_times as (

    select distinct
        key_hash,
        event_at
    from {{ ref("touched_keys") }}

),
{% endif %}

-- every accepted row that claims a key which this run touches, whichever run brought it
claims as (

    select validated_events.*
    from validated_events
    {% if is_incremental() %}
    inner join touched_times
        on validated_events.key_hash = touched_times.key_hash
        and validated_events.event_at = touched_times.event_at
    {% endif %}

),

cleansed as (

    select
        {{ hash_text(interaction_key(
            trim_unicode("user_id"), trim_unicode("episode_id"), "event_kind", "event_at"
        )) }} as interaction_id,
        {{ trim_unicode("user_id") }} as user_id,
        {{ trim_unicode("episode_id") }} as episode_id,
        event_kind as event_type,
        case when event_kind in ('play', 'complete') then cast(whole_duration as integer) end as duration,
        event_at as "timestamp",
        batch_id,
        filename,
        line_number,
        key_hash,
        load_at
    from claims

),

ranked as (

    select
        *,
        count(*) over (partition by interaction_id) - 1 as duplicate_count,
        row_number() over (
            partition by interaction_id
            order by load_at desc, filename desc, line_number desc
        ) as best_first
    from cleansed

)

select
    interaction_id,
    user_id,
    episode_id,
    batch_id,
    key_hash,

    event_type,
    filename,

    duration,
    line_number,
    duplicate_count,

    "timestamp",
    load_at
from ranked
where best_first = 1
    {% if is_incremental() %}
    -- a key that shares its hash and its time with a touched one is left alone
    and interaction_id in (select interaction_id from {{ ref("touched_keys") }})
    {% endif %}
