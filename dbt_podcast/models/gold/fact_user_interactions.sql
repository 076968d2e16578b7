-- grain: one event: (user, episode, event type, time)
{{ config(
    materialized="incremental",
    incremental_strategy="replace_touched_keys",
    on_schema_change="append_new_columns",
) }}
-- depends_on: {{ ref("touched_keys") }}

with

cleansed_events as (

    select cleansed_events.*
    from {{ ref("cleansed_events") }} as cleansed_events
    {% if is_incremental() %}
    where {{ is_touched("cleansed_events.key_hash", "cleansed_events.timestamp") }}
    {% endif %}

)

select
    interaction_id,
    user_id,
    episode_id,
    batch_id,
    key_hash,

    event_type,

    duration,

    timestamp,
    cast(timestamp as date) as event_date,
    load_at
from cleansed_events
