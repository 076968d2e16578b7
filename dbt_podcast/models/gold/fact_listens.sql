-- grain: one listen: (user, episode, session)
{{ config(
    materialized="incremental",
    incremental_strategy="replace_touched_listening",
    unique_key=["user_id", "episode_id"],
    on_schema_change="append_new_columns",
) }}
-- depends_on: {{ ref("touched_listening") }}

with

facts as (

    select facts.*
    from {{ ref("fact_user_interactions") }} as facts
    {% if is_incremental() %}
    {{ of_touched_listening("facts", ["user_id", "episode_id"]) }}
    {% endif %}

),

episodes_history as (

    select * from {{ ref("episodes_history") }}

),

-- the first length that is known of an episode holds for all the time before it too
episode_lengths as (

    select
        episode_id,
        duration_seconds as episode_seconds,
        case
            when row_number() over (partition by episode_id order by dbt_valid_from) > 1 then dbt_valid_from
        end as holds_from,
        lead(dbt_valid_from) over (partition by episode_id order by dbt_valid_from) as holds_until
    from episodes_history
    where duration_seconds is not null

),

activities as (

    select
        user_id,
        episode_id,
        event_type,
        duration,
        timestamp as starts_at,
        {{ event_end("event_type", "timestamp", "duration") }} as ends_at,
        load_at
    from facts

),

gaps as (

    select
        *,
        lag(ends_at) over (partition by user_id, episode_id order by starts_at, event_type) as previous_ends_at
    from activities

),

sessions as (

    select
        *,
        sum(
            case when starts_at < {{ add_minutes("previous_ends_at", var("session_gap_minutes")) }} then 0 else 1 end
        ) over (
            partition by user_id, episode_id
            order by starts_at, event_type
            rows between unbounded preceding and current row
        ) as session
    from gaps

),

-- a pause or seek alone is no listen
listens as (

    select
        user_id,
        episode_id,
        count(*) as event_count,
        count(case when event_type = 'play' then 1 end) as starts,
        max(duration) as furthest_claim_seconds,
        min(case when event_type = 'complete' then starts_at end) as completed_at,
        min(case when event_type = 'play' then starts_at end) as first_play_at,
        min(starts_at) as started_at,
        max(ends_at) as ended_at,
        max(load_at) as last_load_at
    from sessions
    group by user_id, episode_id, session
    having count(case when event_type in ('play', 'complete') then 1 end) > 0

),

measured as (

    select
        listens.*,
        cast(row_number() over (
            partition by listens.user_id, listens.episode_id order by listens.started_at
        ) as bigint) as session_number,
        min(listens.first_play_at) over (partition by listens.user_id, listens.episode_id) as first_played_at,
        lag(cast(listens.started_at as date)) over (
            partition by listens.user_id, listens.episode_id order by listens.started_at
        ) as previous_date,
        max(
            case
                when {{ is_engaged_listen("listens.furthest_claim_seconds", "episode_lengths.episode_seconds") }}
                    then cast(listens.started_at as date)
            end
        ) over (
            partition by listens.user_id, listens.episode_id
            order by listens.started_at
            rows between unbounded preceding and 1 preceding
        ) as previous_engaged_date,
        episode_lengths.episode_seconds,
        listens.completed_at is not null as is_completed,
        {{ reaches_percent("listens.furthest_claim_seconds", "episode_lengths.episode_seconds", qualified_percent()) }}
            as is_nearly_whole
    from listens
    left join episode_lengths
        on listens.episode_id = episode_lengths.episode_id
        and (listens.started_at >= episode_lengths.holds_from or episode_lengths.holds_from is null)
        and (listens.started_at < episode_lengths.holds_until or episode_lengths.holds_until is null)

)

select
    {{ hash_text(interaction_key("user_id", "episode_id", "'listen'", "started_at")) }} as listen_id,
    user_id,
    episode_id,

    session_number,
    event_count,
    starts,
    furthest_claim_seconds,
    case
        when episode_seconds > 0 then least(furthest_claim_seconds, episode_seconds) else furthest_claim_seconds
    end as listened_seconds,
    episode_seconds,
    case when episode_seconds > 0 then cast(furthest_claim_seconds as double) / episode_seconds end as listen_fraction,

    is_completed,
    is_completed and is_nearly_whole as is_completion_qualified,
    {{ is_valid_listen("furthest_claim_seconds", "episode_seconds") }} as is_valid,
    {{ is_engaged_listen("furthest_claim_seconds", "episode_seconds") }} as is_engaged,
    coalesce(previous_date < cast(started_at as date), true) as is_first_of_day,
    {{ is_engaged_listen("furthest_claim_seconds", "episode_seconds") }}
    and coalesce(previous_engaged_date < cast(started_at as date), true) as is_first_engaged_of_day,
    coalesce(episode_seconds > 0 and furthest_claim_seconds > episode_seconds, false) as is_overlong,
    is_completed and coalesce(first_played_at > completed_at, true) as is_completion_without_play,

    started_at,
    ended_at,
    cast(started_at as date) as event_date,
    last_load_at
from measured
