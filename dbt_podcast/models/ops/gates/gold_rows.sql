-- grain: one fact whose key this run touched
{{ config(tags=["gold"]) }}
-- depends_on: {{ ref("fact_user_interactions") }}, {{ ref("touched_facts") }}

select
    facts.*,
    dim_users.user_id is not null as has_user,
    dim_episodes.episode_id is not null as has_episode
from {{ ref("fact_user_interactions") if is_everything_touched() else ref("touched_facts") }} as facts
left join {{ ref("dim_users") }} as dim_users
    on facts.user_id = dim_users.user_id
left join {{ ref("dim_episodes") }} as dim_episodes
    on facts.episode_id = dim_episodes.episode_id
