-- grain: one event whose key this run touched
{{ config(tags=["silver"]) }}
-- depends_on: {{ ref("cleansed_events") }}, {{ ref("touched_events") }}

select
    cleansed_events.*,
    accepted_batches.batch_id is not null as is_of_accepted_batch,
    -- with the key unique, so are these four; to compare them row with row takes memory that grows with the rows
    cleansed_events.interaction_id = {{ hash_text(interaction_key(
        "cleansed_events.user_id", "cleansed_events.episode_id", "cleansed_events.event_type", "cleansed_events.timestamp"
    )) }} as has_key_of_its_columns
from {{ ref("cleansed_events") if is_everything_touched() else ref("touched_events") }} as cleansed_events
left join {{ ref("accepted_batches") }} as accepted_batches
    on cleansed_events.batch_id = accepted_batches.batch_id
