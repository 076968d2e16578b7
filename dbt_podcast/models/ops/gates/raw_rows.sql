-- grain: one line of a batch that the raw gate judges
{{ config(tags=["raw"]) }}

select raw_events.*
from {{ source("bronze", "raw_events") }} as raw_events
inner join {{ ref("pending_batches") }} as pending_batches
    on raw_events.batch_id = pending_batches.batch_id
    and raw_events.load_at = pending_batches.load_at
where pending_batches.is_judged
