-- grain: one batch attempt that this run works on
{{ config(tags=["raw"]) }}

with

batches as (

    select * from {{ source("ops", "batches") }}

),

accepted_batches as (

    select * from {{ ref("accepted_batches") }}

)

select
    batches.batch_id,
    batches.filename,
    batches.content_hash,
    batches.status,
    batches.row_count,
    batches.mutates is not null as is_mutation,
    accepted_batches.batch_id is not null as is_accepted,
    -- only what is new is judged: a released batch was, and a person decided otherwise
    accepted_batches.batch_id is not null and batches.status = 'loaded' as is_judged,
    batches.load_at
from batches
left join accepted_batches
    on batches.batch_id = accepted_batches.batch_id
where batches.pending
