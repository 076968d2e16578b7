-- grain: one key of an event's JSON beyond the five
{{ config(
    materialized="incremental",
    incremental_strategy="append",
    full_refresh=false,
    transient=false,
    tags=["silver"],
) }}
-- depends_on: {{ ref("pending_batches") }}

{# Keys are data: a name is kept up to this length, and of one batch not more than so many new ones. #}
{% set kept_characters = 200 %}
{% set kept_of_a_batch = 1000 %}

with

rows_with_further_keys as (

    select
        validated_events.batch_id,
        validated_events.filename,
        validated_events.rescued,
        validated_events.load_at
    from {{ ref("validated_events") }} as validated_events
    {% if is_incremental() %}
    inner join {{ ref("pending_batches") }} as pending_batches
        on validated_events.batch_id = pending_batches.batch_id
        and validated_events.load_at = pending_batches.load_at
    {% endif %}
    where validated_events.has_further_keys

),

keys as (

    {{ object_keys("rows_with_further_keys", ["batch_id", "filename", "load_at"], "rescued") }}

),

named as (

    select distinct
        left(key, {{ kept_characters }}) as key,
        batch_id,
        filename,
        load_at
    from keys
    where key not in ('event_type', 'user_id', 'episode_id', 'timestamp', 'duration')

),

ranked as (

    select
        *,
        row_number() over (partition by key order by load_at, filename) as first_first
    from named
    {% if is_incremental() %}
    where key not in (select key from {{ this }})
    {% endif %}

),

counted as (

    select
        *,
        row_number() over (partition by batch_id order by key) as number_in_batch
    from ranked
    where first_first = 1

)

select
    key,
    batch_id as first_batch_id,
    filename as first_filename,
    load_at as first_load_at
from counted
where number_in_batch <= {{ kept_of_a_batch }}
