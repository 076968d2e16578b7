-- grain: one line that has a code, or names a user or an episode that the reference data lacks
{{ config(tags=["raw"]) }}

with

classified_events as (

    select * from {{ ref("classified_events") }}

),

users as (

    select * from {{ ref("silver_users") }}

),

episodes as (

    select * from {{ ref("silver_episodes") }}

),

found as (

    select
        classified_events.*,
        {{ array_of_present([
            "case when classified_events.is_valid and users.user_id is null then 'unknown_user' end",
            "case when classified_events.is_valid and episodes.episode_id is null then 'unknown_episode' end",
        ]) }} as unknown_ids
    from classified_events
    left join users
        on {{ trim_unicode("classified_events.user_id") }} = users.user_id
    left join episodes
        on {{ trim_unicode("classified_events.episode_id") }} = episodes.episode_id

)

select
    batch_id,
    filename,
    line_number,
    case when is_valid then unknown_ids else validation_errors end as codes,
    event_type,
    user_id,
    episode_id,
    timestamp,
    duration,
    rescued,
    rescued_bytes,
    load_at
from found
where not is_valid
    or {{ array_length("unknown_ids") }} > 0
