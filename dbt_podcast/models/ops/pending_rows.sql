-- grain: one line of a batch attempt that this run works on
{{ config(materialized="ephemeral") }}

with

pending_batches as (

    select * from {{ ref("pending_batches") }}

)

select validated_events.*
from {{ ref("validated_events") }} as validated_events
inner join pending_batches
    on validated_events.batch_id = pending_batches.batch_id
    and validated_events.load_at = pending_batches.load_at
where pending_batches.is_accepted

union all

-- batches that are held back are no longer, or never were, among the validated ones; their raw rows stay
select classified_events.*
from {{ ref("classified_events") }} as classified_events
inner join pending_batches
    on classified_events.batch_id = pending_batches.batch_id
    and classified_events.load_at = pending_batches.load_at
where not pending_batches.is_accepted
