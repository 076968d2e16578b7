-- grain: one event whose key this run touched
{{ config(tags=["silver"]) }}

select
    cleansed_events.*,
    accepted_batches.batch_id is not null as is_of_accepted_batch
from {{ ref("cleansed_events") }} as cleansed_events
left join {{ ref("accepted_batches") }} as accepted_batches
    on cleansed_events.batch_id = accepted_batches.batch_id
where cleansed_events.key_hash in (select key_hash from {{ ref("touched_keys") }})
    and cleansed_events.interaction_id in (select interaction_id from {{ ref("touched_keys") }})
