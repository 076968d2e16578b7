-- grain: the warehouse, one row; where every line ever loaded is now
{{ config(tags=["gold"]) }}

with

-- a superseded attempt was replaced by another reading of its file: its lines are held back for good
lines as (

    select
        coalesce(sum(batches.row_count), 0) as lines,
        coalesce(sum(case when accepted.batch_id is not null then batch_profiles.malformed end), 0) as malformed,
        coalesce(
            sum(
                case when accepted.batch_id is not null then batch_profiles.invalid - batch_profiles.malformed end
            ),
            0
        ) as invalid,
        coalesce(sum(case when accepted.batch_id is not null then batch_profiles.valid end), 0) as valid,
        coalesce(sum(case when accepted.batch_id is null then batches.row_count end), 0) as held_back
    from {{ source("ops", "batches") }} as batches
    left join {{ ref("accepted_batches") }} as accepted
        on batches.batch_id = accepted.batch_id
    left join {{ ref("batch_profiles") }} as batch_profiles
        on batches.batch_id = batch_profiles.batch_id

),

events as (

    select
        count(*) as cleansed_events,
        coalesce(sum(duplicate_count), 0) as duplicates
    from {{ ref("cleansed_events") }}

),

facts as (

    select count(*) as facts
    from {{ ref("fact_user_interactions") }}

),

days as (

    select
        coalesce(sum(received), 0) as lines,
        coalesce(sum(malformed), 0) as malformed,
        coalesce(sum(invalid), 0) as invalid,
        coalesce(sum(duplicates), 0) as duplicates,
        coalesce(sum(facts), 0) as facts,
        coalesce(sum(held_back), 0) as held_back,
        count(
            case
                when received <> malformed + invalid + duplicates + facts + held_back
                    or least(malformed, invalid, duplicates, facts, held_back) < 0
                    then 1
            end
        ) as days_that_do_not_add_up
    from {{ ref("quality_daily") }}

)

select
    cast(null as {{ text_type() }}) as batch_id,

    cast(lines.lines as bigint) as lines,
    cast(lines.malformed as bigint) as malformed,
    cast(lines.invalid as bigint) as invalid,
    cast(events.duplicates as bigint) as duplicates,
    cast(facts.facts as bigint) as facts,
    cast(lines.held_back as bigint) as held_back,
    lines.valid = events.cleansed_events + events.duplicates
    and facts.facts = events.cleansed_events
    and lines.lines = lines.malformed + lines.invalid + events.duplicates + facts.facts + lines.held_back as reconciles,
    days.days_that_do_not_add_up = 0
    and days.lines = lines.lines
    and days.malformed = lines.malformed
    and days.invalid = lines.invalid
    and days.duplicates = events.duplicates
    and days.facts = facts.facts
    and days.held_back = lines.held_back as days_reconcile
from lines
cross join events
cross join facts
cross join days
