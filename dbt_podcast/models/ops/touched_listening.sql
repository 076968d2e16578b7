-- grain: one day of one user and episode whose listening this run may have changed; none where there is no mart yet
{{ config(
    materialized="table",
    tags=["gold"],
    post_hook="{{ note_unpublished_rows('listening', ['user_id', 'episode_id', 'event_date']) }}",
) }}

{% set replaces = has_tables_replaced_by("replace_touched_listening") or not is_everything_touched() %}
{% set is_kept = "true" if replaces else "false" %}

-- what is read twice and has all of history is no expression here: engines keep the rows of one that is used twice
with

touched_keys as (

    select * from {{ ref("touched_keys") }}
    where {{ is_kept }}

),

changed_users as (

    select id as user_id
    from {{ ref("pending_reference_changes") }}
    where kind = 'user' and {{ is_kept }}

),

changed_episodes as (

    select id as episode_id
    from {{ ref("pending_reference_changes") }}
    where kind = 'episode' and {{ is_kept }}

),

-- a listen can begin long before the event that came or went, so that all of the user and episode is touched
touched as (

    select
        touched_keys.user_id,
        touched_keys.episode_id
    from touched_keys

    union

    select
        facts.user_id,
        facts.episode_id
    from {{ ref("fact_user_interactions") }} as facts
    inner join changed_episodes
        on facts.episode_id = changed_episodes.episode_id

),

touched_users as (

    select distinct user_id from touched

),

days as (

    select
        facts.user_id,
        facts.episode_id,
        facts.event_date
    from {{ ref("fact_user_interactions") }} as facts
    inner join touched
        on facts.user_id = touched.user_id
        and facts.episode_id = touched.episode_id
        and facts.user_id in (select user_id from touched_users)

    union

    -- of events that are gone
    select
        touched_keys.user_id,
        touched_keys.episode_id,
        cast(touched_keys.event_at as date) as event_date
    from touched_keys

)

select
    user_id,
    episode_id,
    event_date
from days

union all

-- the episode by itself, which has its rows also where nobody listened to it
select
    cast(null as {{ text_type() }}) as user_id,
    episode_id,
    cast(null as date) as event_date
from changed_episodes

union all

select
    user_id,
    cast(null as {{ text_type() }}) as episode_id,
    cast(null as date) as event_date
from changed_users
