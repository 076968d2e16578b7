-- grain: one batch attempt that this run works on
{{ config(materialized="table", tags=["bronze"]) }}

{% set counts = (
    ["lines", "malformed", "invalid", "valid"]
    + validation_codes()
    + ["distinct_keys", "unknown_users", "unknown_episodes", "unknown_rows", "rows_with_further_keys"]
    + ["plays", "pauses", "seeks", "completes", "listens_of_known_length", "overlong_listens"]
) %}

{# Longer than the episode: players round up and play the last seconds twice, so both have to be passed. #}
{% set tolerated_seconds = 60 %}
{% set tolerated_share = 0.1 %}

with

pending_batches as (

    select * from {{ ref("pending_batches") }}

),

users as (

    select * from {{ ref("silver_users") }}

),

episodes as (

    select * from {{ ref("silver_episodes") }}

),

pending_rows as (

    select * from {{ ref("pending_rows") }}

),

checked_rows as (

    select
        pending_rows.*,
        pending_rows.is_valid and users.user_id is null as is_unknown_user,
        pending_rows.is_valid and episodes.episode_id is null as is_unknown_episode,
        case
            when pending_rows.event_kind in ('play', 'complete') and episodes.duration_seconds > 0
                then episodes.duration_seconds
        end as episode_seconds
    from pending_rows
    left join users
        on pending_rows.is_valid
        and {{ trim_unicode("pending_rows.user_id") }} = users.user_id
    left join episodes
        on pending_rows.is_valid
        and {{ trim_unicode("pending_rows.episode_id") }} = episodes.episode_id

),

counted as (

    select
        batch_id,
        count(*) as lines,
        count(case when is_malformed then 1 end) as malformed,
        count(case when not is_valid then 1 end) as invalid,
        count(case when is_valid then 1 end) as valid,
        {%- for code in validation_codes() %}
        count(
            case when not is_valid and {{ array_contains("validation_errors", "'" ~ code ~ "'") }} then 1 end
        ) as {{ code }},
        {%- endfor %}
        count(distinct key_hash) as distinct_keys,
        count(case when is_unknown_user then 1 end) as unknown_users,
        count(case when is_unknown_episode then 1 end) as unknown_episodes,
        count(case when is_unknown_user or is_unknown_episode then 1 end) as unknown_rows,
        count(case when has_further_keys then 1 end) as rows_with_further_keys,
        count(case when is_valid and event_kind = 'play' then 1 end) as plays,
        count(case when is_valid and event_kind = 'pause' then 1 end) as pauses,
        count(case when is_valid and event_kind = 'seek' then 1 end) as seeks,
        count(case when is_valid and event_kind = 'complete' then 1 end) as completes,
        count(episode_seconds) as listens_of_known_length,
        count(
            case
                when whole_duration > episode_seconds
                    + greatest({{ tolerated_seconds }}, {{ tolerated_share }} * episode_seconds)
                    then 1
            end
        ) as overlong_listens,
        min(case when is_valid then event_at end) as first_event_at,
        max(case when is_valid then event_at end) as last_event_at
    from checked_rows
    group by batch_id

)

select
    pending_batches.batch_id,
    pending_batches.is_judged,
    {%- for count in counts %}
    coalesce(counted.{{ count }}, 0) as {{ count }},
    {%- endfor %}
    pending_batches.row_count as ledger_lines,
    {{ share_of("counted.invalid", "counted.lines") }} as invalid_share,
    {{ share_of("counted.unknown_rows", "counted.valid") }} as unknown_share,
    counted.first_event_at,
    counted.last_event_at,
    pending_batches.load_at
from pending_batches
left join counted
    on pending_batches.batch_id = counted.batch_id
