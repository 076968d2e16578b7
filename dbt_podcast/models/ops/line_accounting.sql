-- grain: one batch attempt that this run works on; where each of its lines went
{{ config(materialized="table", tags=["gold"]) }}

with

pending_batches as (

    select * from {{ ref("pending_batches") }}

),

batch_profiles as (

    select * from {{ ref("batch_profiles") }}

),

facts as (

    select
        pending_batches.batch_id,
        count(*) as facts
    from {{ ref("fact_user_interactions") }} as fact_user_interactions
    inner join pending_batches
        on fact_user_interactions.batch_id = pending_batches.batch_id
        and fact_user_interactions.load_at = pending_batches.load_at
    group by pending_batches.batch_id

),

-- valid rows that lost their key to a better row, counted row by row
duplicates as (

    select
        validated_events.batch_id,
        count(*) as duplicates
    from {{ ref("validated_events") }} as validated_events
    inner join pending_batches
        on validated_events.batch_id = pending_batches.batch_id
        and validated_events.load_at = pending_batches.load_at
    left join {{ ref("cleansed_events") }} as cleansed_events
        on validated_events.key_hash = cleansed_events.key_hash
        and validated_events.batch_id = cleansed_events.batch_id
        and validated_events.line_number = cleansed_events.line_number
        and validated_events.load_at = cleansed_events.load_at
    where validated_events.is_valid
        and cleansed_events.interaction_id is null
    group by validated_events.batch_id

)

select
    pending_batches.batch_id,

    pending_batches.is_accepted,
    pending_batches.is_judged,

    pending_batches.row_count as lines,
    case when pending_batches.is_accepted then batch_profiles.malformed else 0 end as malformed,
    case when pending_batches.is_accepted then batch_profiles.invalid - batch_profiles.malformed else 0 end as invalid,
    coalesce(duplicates.duplicates, 0) as duplicates,
    coalesce(facts.facts, 0) as facts,
    case when pending_batches.is_accepted then 0 else pending_batches.row_count end as held_back
from pending_batches
left join batch_profiles
    on pending_batches.batch_id = batch_profiles.batch_id
left join facts
    on pending_batches.batch_id = facts.batch_id
left join duplicates
    on pending_batches.batch_id = duplicates.batch_id
