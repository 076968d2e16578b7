-- grain: one episode of a known show with a listener
with

seen as (

    {{ seen_until(ref("fact_user_interactions")) }}

),

-- the seven days of the last who began on a day are over eight days after it began
listeners as (

    select
        listener_episodes.episode_id,
        listener_episodes.podcast_id,
        listener_episodes.went_on,
        {{ add_days("listener_episodes.first_listen_date", 8) }} <= seen.end_date as is_observed
    from {{ ref("listener_episodes") }} as listener_episodes
    cross join seen
    where listener_episodes.podcast_id is not null
        and listener_episodes.first_listen_date < seen.end_date

),

episodes as (

    select
        episode_id,
        podcast_id,
        count(*) as listeners,
        count(case when not is_observed then 1 end) as censored_listeners,
        count(case when is_observed then 1 end) as observed_listeners,
        count(case when is_observed and went_on then 1 end) as continued_listeners
    from listeners
    group by episode_id, podcast_id

)

select
    episode_id,
    podcast_id,

    listeners,
    censored_listeners,
    observed_listeners,
    continued_listeners,
    {{ share_of("continued_listeners", "observed_listeners") }} as continuation_share
from episodes
