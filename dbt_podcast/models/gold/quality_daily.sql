-- grain: one UTC day on which files were loaded
{% set states = ["published", "quarantined", "released", "discarded", "superseded", "empty"] %}

with

batches as (

    select * from {{ source("ops", "batches") }}

),

accepted_batches as (

    select * from {{ ref("accepted_batches") }}

),

batch_profiles as (

    select * from {{ ref("batch_profiles") }}

),

-- as the publication of these tables leaves them: what is in force by then is published, what it replaces is superseded
settled as (

    select
        batches.batch_id,
        batches.row_count,
        current_attempts.batch_id is not null and current_attempts.attempt = batches.attempt as is_accepted,
        case
            when batches.status = 'empty' then batches.status
            when current_attempts.attempt > batches.attempt then 'superseded'
            when batches.status = 'loaded' then 'published'
            else batches.status
        end as settled_status,
        cast(batches.load_at as date) as load_date
    from batches
    left join accepted_batches as current_attempts
        on batches.filename = current_attempts.filename

),

by_batch as (

    select
        settled.load_date,
        count(*) as batches,
        {%- for state in states %}
        count(case when settled.settled_status = '{{ state }}' then 1 end) as {{ state }}_batches,
        {%- endfor %}
        {%- for code in validation_codes() %}
        sum(case when settled.is_accepted then batch_profiles.{{ code }} end) as {{ code }},
        {%- endfor %}
        sum(settled.row_count) as received,
        sum(case when not settled.is_accepted then settled.row_count end) as held_back,
        sum(case when settled.is_accepted then batch_profiles.malformed end) as malformed,
        sum(case when settled.is_accepted then batch_profiles.invalid - batch_profiles.malformed end) as invalid
    from settled
    left join batch_profiles
        on settled.batch_id = batch_profiles.batch_id
    group by settled.load_date

),

valid_rows as (

    select
        cast(load_at as date) as load_date,
        count(*) as valid_rows
    from {{ ref("validated_events") }}
    where is_valid
    group by cast(load_at as date)

),

events as (

    select
        cast(load_at as date) as load_date,
        count(*) as events
    from {{ ref("cleansed_events") }}
    group by cast(load_at as date)

),

facts as (

    select
        cast(load_at as date) as load_date,
        count(*) as facts
    from {{ ref("fact_user_interactions") }}
    group by cast(load_at as date)

)

select
    by_batch.load_date,

    by_batch.batches,
    {%- for state in states %}
    by_batch.{{ state }}_batches,
    {%- endfor %}

    cast(by_batch.received as bigint) as received,
    cast(coalesce(by_batch.malformed, 0) as bigint) as malformed,
    cast(coalesce(by_batch.invalid, 0) as bigint) as invalid,
    {%- for code in validation_codes() %}
    cast(coalesce(by_batch.{{ code }}, 0) as bigint) as {{ code }},
    {%- endfor %}
    coalesce(valid_rows.valid_rows, 0) - coalesce(events.events, 0) as duplicates,
    coalesce(facts.facts, 0) as facts,
    cast(coalesce(by_batch.held_back, 0) as bigint) as held_back
from by_batch
left join valid_rows
    on by_batch.load_date = valid_rows.load_date
left join events
    on by_batch.load_date = events.load_date
left join facts
    on by_batch.load_date = facts.load_date
