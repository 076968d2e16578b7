-- grain: one line of one file, blank lines aside
{{ config(materialized="view", tags=["raw"]) }}

{% set whole_number_pattern = "[+-]?[0-9]+([.]0+)?" %}

with

raw_events as (

    select * from {{ source("bronze", "raw_events") }}

),

parsed as (

    select
        *,
        {{ trim_unicode("user_id") }} as trimmed_user_id,
        {{ trim_unicode("episode_id") }} as trimmed_episode_id,
        lower({{ trim_unicode("event_type") }}) as event_kind,
        {{ parse_event_timestamp("timestamp") }} as event_at,
        case
            when {{ matches("duration", whole_number_pattern) }} then {{ whole_number("duration") }}
        end as whole_duration
    from raw_events

),

flagged as (

    select
        *,
        coalesce(event_kind in ('play', 'complete'), false) as has_duration,
        coalesce(event_kind in ('pause', 'seek'), false) as has_no_duration
    from parsed

),

coded as (

    select
        *,
        case
            when is_malformed then {{ array_of_present(["'malformed_json'"]) }}
            else {{ array_of_present([
                "case when user_id is null then 'missing_user_id' end",
                "case when trimmed_user_id = '' then 'empty_user_id' end",
                "case when episode_id is null then 'missing_episode_id' end",
                "case when trimmed_episode_id = '' then 'empty_episode_id' end",
                "case when timestamp is null then 'missing_timestamp' end",
                "case when timestamp is not null and event_at is null then 'invalid_timestamp' end",
                "case when event_at < timestamp '" ~ var("min_event_timestamp") ~ "' then 'timestamp_too_early' end",
                "case when event_at > " ~ add_minutes("load_at", var("future_tolerance_minutes")) ~ " then 'timestamp_in_future' end",
                "case when event_type is null then 'missing_event_type' end",
                "case when event_type is not null and not has_duration and not has_no_duration then 'invalid_event_type' end",
                "case when has_duration and coalesce(whole_duration, 0) <= 0 then 'invalid_duration' end",
                "case when has_duration and whole_duration > " ~ var("max_duration_seconds") ~ " then 'duration_out_of_range' end",
                "case when has_no_duration and duration is not null then 'unexpected_duration' end",
            ]) }}
        end as validation_errors
    from flagged

),

keyed as (

    select
        *,
        {{ array_length("validation_errors") }} = 0 as is_valid,
        {{ interaction_key("trimmed_user_id", "trimmed_episode_id", "event_kind", "event_at") }} as interaction_key
    from coded

)

select
    batch_id,
    filename,
    line_number,
    event_type,
    user_id,
    episode_id,
    timestamp,
    duration,
    rescued,
    rescued_bytes,
    event_kind,
    case when is_valid then {{ hash_number("interaction_key") }} end as key_hash,
    whole_duration,
    validation_errors,
    is_valid,
    is_malformed,
    has_further_keys,
    -- of no other row, so that odd times do not stand between the usual ones, by which the engine finds its way
    case when is_valid then event_at end as event_at,
    load_at
from keyed
