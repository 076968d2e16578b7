-- grain: one line of a batch that this run validated
{{ config(tags=["bronze"]) }}

select
    validated_events.*,
    {{ array_length("validated_events.validation_errors") }} as error_count
from {{ ref("validated_events") }} as validated_events
inner join {{ ref("pending_batches") }} as pending_batches
    on validated_events.batch_id = pending_batches.batch_id
    and validated_events.load_at = pending_batches.load_at
