-- grain: one batch that the raw gate judges
{{ config(materialized="table", tags=["raw"]) }}

with

pending_batches as (

    select * from {{ ref("pending_batches") }}
    where is_judged

),

raw_events as (

    select * from {{ source("bronze", "raw_events") }}

),

counted as (

    select
        pending_batches.batch_id,
        count(*) as lines,
        count(distinct raw_events.line_number) as distinct_lines,
        count(case when raw_events.is_malformed then 1 end) as malformed
    from pending_batches
    inner join raw_events
        on pending_batches.batch_id = raw_events.batch_id
        and pending_batches.load_at = raw_events.load_at
    group by pending_batches.batch_id

),

-- files of the same content under another name, that came before
same_content as (

    select
        pending_batches.batch_id,
        min(others.filename) as same_content_as
    from pending_batches
    inner join {{ source("ops", "batches") }} as others
        on pending_batches.content_hash = others.content_hash
        and pending_batches.filename <> others.filename
    where others.status in ('loaded', 'published', 'released', 'quarantined')
        and (
            others.load_at < pending_batches.load_at
            or (others.load_at = pending_batches.load_at and others.filename < pending_batches.filename)
        )
    group by pending_batches.batch_id

)

select
    pending_batches.batch_id,

    same_content.same_content_as,

    pending_batches.row_count as ledger_lines,
    coalesce(counted.lines, 0) as lines,
    coalesce(counted.distinct_lines, 0) as distinct_lines,
    coalesce(counted.malformed, 0) as malformed,
    coalesce({{ share_of("counted.malformed", "counted.lines") }}, 0) as malformed_share,
    cast(pending_batches.is_mutation as integer) as changed_published_files
from pending_batches
left join counted
    on pending_batches.batch_id = counted.batch_id
left join same_content
    on pending_batches.batch_id = same_content.batch_id
