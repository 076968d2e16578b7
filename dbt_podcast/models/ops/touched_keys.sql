-- grain: one key of an event that a batch of this run has, or had: (user, episode, event type, time)
{{ config(materialized="table", tags=["silver"]) }}

with

pending_rows as (

    select * from {{ ref("pending_rows") }}

)

select distinct
    key_hash,
    {{ hash_text(interaction_key(trim_unicode("user_id"), trim_unicode("episode_id"), "event_kind", "event_at")) }} as interaction_id,
    {{ trim_unicode("user_id") }} as user_id,
    {{ trim_unicode("episode_id") }} as episode_id,
    event_at
from pending_rows
where is_valid
