-- grain: one batch attempt that this run works on; what its valid rows together say of listening
{{ config(materialized="table", tags=["silver"]) }}

with

pending_batches as (

    select * from {{ ref("pending_batches") }}

),

listens as (

    select
        batch_id,
        event_kind,
        {{ trim_unicode("user_id") }} as user_id,
        {{ trim_unicode("episode_id") }} as episode_id,
        key_hash,
        whole_duration,
        event_at
    from {{ ref("pending_rows") }}
    where is_valid
        and event_kind in ('play', 'complete')

),

first_plays as (

    select
        batch_id,
        user_id,
        episode_id,
        min(event_at) as played_at
    from listens
    where event_kind = 'play'
    group by batch_id, user_id, episode_id

),

-- within the batch only: to look for the play among all earlier events would cost more with every day of history
unplayed as (

    select
        listens.batch_id,
        count(*) as completions_without_play
    from listens
    left join first_plays
        on listens.batch_id = first_plays.batch_id
        and listens.user_id = first_plays.user_id
        and listens.episode_id = first_plays.episode_id
        and listens.event_at >= first_plays.played_at
    where listens.event_kind = 'complete'
        and first_plays.played_at is null
    group by listens.batch_id

),

repeated as (

    select key_hash
    from listens
    group by key_hash
    having count(*) > 1

),

-- one event counts once, however often its line came
distinct_listens as (

    select
        batch_id,
        user_id,
        event_kind,
        whole_duration as seconds,
        cast(event_at as date) as event_date
    from listens
    where key_hash not in (select key_hash from repeated)

    union all

    select
        batch_id,
        user_id,
        event_kind,
        max(whole_duration) as seconds,
        cast(event_at as date) as event_date
    from listens
    where key_hash in (select key_hash from repeated)
    group by batch_id, user_id, event_kind, key_hash, cast(event_at as date)

),

-- a play and a completion can be of the same seconds, so that they are not added to each other
user_days as (

    select
        batch_id,
        greatest(
            coalesce(sum(case when event_kind = 'play' then seconds end), 0),
            coalesce(sum(case when event_kind = 'complete' then seconds end), 0)
        ) as seconds
    from distinct_listens
    group by batch_id, user_id, event_date

),

longest_days as (

    select
        batch_id,
        max(seconds) as most_seconds_in_a_day
    from user_days
    group by batch_id

)

select
    pending_batches.batch_id,

    coalesce(unplayed.completions_without_play, 0) as completions_without_play,
    cast(coalesce(longest_days.most_seconds_in_a_day, 0) as bigint) as most_seconds_in_a_day
from pending_batches
left join unplayed
    on pending_batches.batch_id = unplayed.batch_id
left join longest_days
    on pending_batches.batch_id = longest_days.batch_id
