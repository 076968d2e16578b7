-- grain: one key of an event that a batch of this run has, or had: (user, episode, event type, time)
{{ config(materialized="table", tags=["silver"]) }}

with

pending_batches as (

    select * from {{ ref("pending_batches") }}

),

-- the keys of batches that leave are computed from their raw rows, which stay
touched_rows as (

    select validated_events.*
    from {{ ref("validated_events") }} as validated_events
    inner join pending_batches
        on validated_events.batch_id = pending_batches.batch_id
        and validated_events.load_at = pending_batches.load_at
    where pending_batches.is_accepted

    union all

    select classified_events.*
    from {{ ref("classified_events") }} as classified_events
    inner join pending_batches
        on classified_events.batch_id = pending_batches.batch_id
        and classified_events.load_at = pending_batches.load_at
    where not pending_batches.is_accepted

)

select distinct
    key_hash,
    {{ hash_text(interaction_key(trim_unicode("user_id"), trim_unicode("episode_id"), "event_kind", "event_at")) }} as interaction_id,
    {{ trim_unicode("user_id") }} as user_id,
    {{ trim_unicode("episode_id") }} as episode_id,
    event_at
from touched_rows
where is_valid
