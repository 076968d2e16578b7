-- grain: one line of one file, blank lines aside, of the batches that passed the raw gate
{{ config(incremental_strategy="replace_pending_batches", on_schema_change="append_new_columns") }}
-- depends_on: {{ ref("pending_batches") }}

with

classified_events as (

    select * from {{ ref("classified_events") }}

),

accepted_batches as (

    select * from {{ ref("accepted_batches") }}
    {% if is_incremental() %}
    where pending
    {% endif %}

)

select classified_events.*
from classified_events
inner join accepted_batches
    on classified_events.batch_id = accepted_batches.batch_id
    and classified_events.load_at = accepted_batches.load_at
