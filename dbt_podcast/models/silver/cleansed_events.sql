-- grain: one event: (user, episode, event type, time)
{{ config(
    materialized="incremental",
    incremental_strategy="replace_touched_keys",
    on_schema_change="append_new_columns",
) }}
-- depends_on: {{ ref("touched_keys") }}

{# Of all rows there are, those are not kept together in memory that are read again sooner. #}
{% set kept = "" if is_incremental() else not_materialized() %}

with

-- every accepted row that claims a key which this run touches, whichever run brought it
claims as {{ kept }} (

    select validated_events.*
    from {{ ref("validated_events") }} as validated_events
    where
        validated_events.is_valid
        {% if is_incremental() %}
        and {{ is_touched("validated_events.key_hash", "validated_events.event_at") }}
        {% endif %}

),

cleansed as {{ kept }} (

    select
        {{ hash_text(interaction_key(
            trim_unicode("user_id"), trim_unicode("episode_id"), "event_kind", "event_at"
        )) }} as interaction_id,
        {{ trim_unicode("user_id") }} as user_id,
        {{ trim_unicode("episode_id") }} as episode_id,
        event_kind as event_type,
        case when event_kind in ('play', 'complete') then cast(whole_duration as integer) end as duration,
        event_at as timestamp,
        batch_id,
        filename,
        line_number,
        key_hash,
        load_at
    from claims

),

-- nearly all keys have one claim, and need no comparison
rivals as (

    select key_hash
    from claims
    group by key_hash
    having count(*) > 1

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
    where key_hash in (select key_hash from rivals)

),

events as (

    select
        *,
        0 as duplicate_count,
        1 as best_first
    from cleansed
    where key_hash not in (select key_hash from rivals)

    union all

    select * from ranked

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

    timestamp,
    load_at
from events
where best_first = 1
