-- grain: one fact whose key this run touched
{{ config(tags=["gold"]) }}

select
    facts.*,
    dim_users.user_id is not null as has_user,
    dim_episodes.episode_id is not null as has_episode
from {{ ref("fact_user_interactions") }} as facts
left join {{ ref("dim_users") }} as dim_users
    on facts.user_id = dim_users.user_id
left join {{ ref("dim_episodes") }} as dim_episodes
    on facts.episode_id = dim_episodes.episode_id
{% if not is_everything_touched() %}
where {{ is_touched("facts.key_hash", 'facts."timestamp"') }}
{% endif %}
