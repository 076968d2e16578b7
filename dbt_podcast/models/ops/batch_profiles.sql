-- grain: one batch attempt
{{ config(
    materialized="incremental",
    incremental_strategy="replace_pending_batches",
    full_refresh=false,
    transient=false,
    on_schema_change="append_new_columns",
    tags=["silver"],
) }}
-- depends_on: {{ ref("pending_batches") }}

with

validation_profiles as (

    select * from {{ ref("validation_profiles") }}

),

pending_batches as (

    select * from {{ ref("pending_batches") }}

),

listening_profiles as (

    select * from {{ ref("listening_profiles") }}

),

numbered_keys as (

    select
        first_batch_id as batch_id,
        key,
        row_number() over (partition by first_batch_id order by key) as number
    from {{ ref("event_keys") }}
    where first_batch_id in (select batch_id from pending_batches)

),

-- of the keys that this run's batches were the first to have, all counted and five named; names can hold anything
new_keys as (

    select
        batch_id,
        count(*) as new_keys,
        {{ joined_texts("case when number <= 5 then '\"' || left(key, 30) || '\"' end", "key") }}
        || case when count(*) > 5 then ' and ' || cast(count(*) - 5 as {{ text_type() }}) || ' more' else '' end
            as new_key_names
    from numbered_keys
    group by batch_id

),

-- all of bronze is no expression: engines keep the rows of one that is used twice
pending_keys as (

    select distinct
        pending_batches.batch_id,
        pending_batches.filename,
        validated_events.key_hash,
        validated_events.event_at,
        pending_batches.load_at
    from {{ ref("validated_events") }} as validated_events
    inner join pending_batches
        on validated_events.batch_id = pending_batches.batch_id
        and validated_events.load_at = pending_batches.load_at
    where validated_events.is_valid
    {% if is_everything_touched() %}
    -- of all rows there are, most have a key of their own and can be passed over
    and validated_events.key_hash in (
        select all_events.key_hash
        from {{ ref("validated_events") }} as all_events
        where all_events.is_valid
        group by all_events.key_hash
        having count(*) > 1
    )
    {% endif %}

),

-- by themselves too: so an engine passes over the rest of the other rows
pending_hashes as (

    select distinct key_hash from pending_keys

),

earlier as (

    select
        pending_keys.batch_id,
        count(distinct pending_keys.key_hash) as duplicates_of_earlier_rows
    from pending_keys
    inner join {{ ref("validated_events") }} as validated_events
        on pending_keys.key_hash = validated_events.key_hash
        and pending_keys.event_at = validated_events.event_at
    where validated_events.is_valid
        and validated_events.key_hash in (select key_hash from pending_hashes)
        and (
            validated_events.load_at < pending_keys.load_at
            or (validated_events.load_at = pending_keys.load_at and validated_events.filename < pending_keys.filename)
        )
    group by pending_keys.batch_id

)

select
    validation_profiles.batch_id,

    new_keys.new_key_names,

    validation_profiles.lines,
    validation_profiles.malformed,
    validation_profiles.invalid,
    validation_profiles.valid,
    {%- for code in validation_codes() %}
    validation_profiles.{{ code }},
    {%- endfor %}
    validation_profiles.valid - validation_profiles.distinct_keys as duplicates_within_batch,
    coalesce(earlier.duplicates_of_earlier_rows, 0) as duplicates_of_earlier_rows,
    validation_profiles.unknown_users,
    validation_profiles.unknown_episodes,
    validation_profiles.unknown_rows,
    validation_profiles.rows_with_further_keys,
    coalesce(new_keys.new_keys, 0) as new_keys,
    validation_profiles.plays,
    validation_profiles.pauses,
    validation_profiles.seeks,
    validation_profiles.completes,
    validation_profiles.listens_of_known_length,
    validation_profiles.overlong_listens,
    listening_profiles.completions_without_play,
    listening_profiles.most_seconds_in_a_day,
    validation_profiles.invalid_share,
    validation_profiles.unknown_share,

    validation_profiles.first_event_at,
    validation_profiles.last_event_at,
    validation_profiles.load_at
from validation_profiles
left join listening_profiles
    on validation_profiles.batch_id = listening_profiles.batch_id
left join new_keys
    on validation_profiles.batch_id = new_keys.batch_id
left join earlier
    on validation_profiles.batch_id = earlier.batch_id
