-- grain: one file; its attempt whose rows belong into the tables, in this run as far as it was judged
{{ config(tags=["raw"]) }}

with

batches as (

    select * from {{ source("ops", "batches") }}

),

ranked as (

    select
        *,
        row_number() over (partition by filename order by attempt desc) as newest_first
    from batches
    where status in ('loaded', 'published', 'released')

)

select
    batch_id,
    filename,
    attempt,
    status,
    row_count,
    pending,
    load_at
from ranked
where newest_first = 1
