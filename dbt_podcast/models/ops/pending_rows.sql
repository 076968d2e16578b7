-- grain: one line of a batch attempt that this run works on
{{ config(materialized=shared_part(), tags=["bronze"]) }}

{# By name: an engine may keep further columns of its own in the table, by which it finds rows. #}
{% set columns = [
    "batch_id", "filename", "line_number", "event_type", "user_id", "episode_id", "timestamp", "duration",
    "rescued", "rescued_bytes", "event_kind", "key_hash", "whole_duration", "validation_errors",
    "is_valid", "is_malformed", "has_further_keys", "event_at",
] %}

with

pending_batches as (

    select * from {{ ref("pending_batches") }}

)

select
    {%- for column in columns %}
    validated_events.{{ column }},
    {%- endfor %}
    validated_events.load_at
from {{ ref("validated_events") }} as validated_events
inner join pending_batches
    on validated_events.batch_id = pending_batches.batch_id
    and validated_events.load_at = pending_batches.load_at
where pending_batches.is_accepted

union all

-- batches that are held back are no longer, or never were, among the validated ones; their raw rows stay
select
    {%- for column in columns %}
    classified_events.{{ column }},
    {%- endfor %}
    classified_events.load_at
from {{ ref("classified_events") }} as classified_events
inner join pending_batches
    on classified_events.batch_id = pending_batches.batch_id
    and classified_events.load_at = pending_batches.load_at
where not pending_batches.is_accepted
